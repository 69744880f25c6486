// A sliding window for brains that are too large or too thin to be run whole, as MONAI's SlidingWindowInferer.

// Runs a network over a volume { data, shape } of `channels` in the order channel, x, y, z (z fastest).
// `run` maps a window's data to `outputs` channels of its size; windows are blended with Gaussian weights.
export async function slideOver({ data, shape }, channels, outputs, size, run, onShare = () => {}) {
  const padded = shape.map((edge) => Math.max(edge, size));
  const before = shape.map((edge) => Math.floor(Math.max(size - edge, 0) / 2));
  const image = embed(data, channels, shape, padded, before);
  const starts = padded.map((edge) => startsOf(edge, size));
  const weights = gaussian(size);
  const plane = padded[0] * padded[1] * padded[2];
  const [sums, total] = [new Float32Array(outputs * plane), new Float32Array(plane)];
  const corners = starts[0].flatMap((x) => starts[1].flatMap((y) => starts[2].map((z) => [x, y, z])));
  for (const [index, corner] of corners.entries()) {
    const found = await run(cut(image, channels, padded, corner, [size, size, size]), [size, size, size]);
    eachRow(corner, size, padded, (at, from) => {
      for (let z = 0; z < size; z++) {
        const weight = weights[from + z];
        total[at + z] += weight;
        for (let n = 0; n < outputs; n++) sums[n * plane + at + z] += weight * found[n * size ** 3 + from + z];
      }
    });
    onShare((index + 1) / corners.length);
  }
  for (let index = 0; index < sums.length; index++) sums[index] /= total[index % plane];
  return cut(sums, outputs, padded, before, shape);
}

// Windows overlap by half; the last one ends with the volume.
function startsOf(edge, size) {
  if (edge === size) return [0];
  const starts = [];
  for (let start = 0; ; start += size / 2) {
    starts.push(Math.min(start, edge - size));
    if (start + size >= edge) return starts;
  }
}

function gaussian(size) {
  const sigma = 0.125 * size;
  const line = Array.from({ length: size }, (_, k) => Math.exp(-((k - (size - 1) / 2) ** 2) / (2 * sigma * sigma)));
  const weights = new Float32Array(size ** 3);
  let index = 0;
  for (const x of line) for (const y of line) for (const z of line) weights[index++] = x * y * z;
  const least = Math.max(line[0] ** 3, 1e-3);
  return weights.map((weight) => Math.max(weight, least));
}

function eachRow([x0, y0, z0], size, [, height, depth], visit) {
  for (let x = 0; x < size; x++) for (let y = 0; y < size; y++) visit(z0 + depth * (y0 + y + height * (x0 + x)), size * (y + size * x));
}

// The part of a volume that begins at a corner.
function cut(data, channels, [width, height, depth], [x0, y0, z0], [sx, sy, sz]) {
  const part = new Float32Array(channels * sx * sy * sz);
  let index = 0;
  for (let n = 0; n < channels; n++) {
    for (let x = 0; x < sx; x++) {
      for (let y = 0; y < sy; y++, index += sz) {
        const at = z0 + depth * (y0 + y + height * (x0 + x + width * n));
        part.set(data.subarray(at, at + sz), index);
      }
    }
  }
  return part;
}

// A volume within a larger one of zeros.
function embed(data, channels, [sx, sy, sz], [width, height, depth], [x0, y0, z0]) {
  const whole = new Float32Array(channels * width * height * depth);
  let index = 0;
  for (let n = 0; n < channels; n++) {
    for (let x = 0; x < sx; x++) {
      for (let y = 0; y < sy; y++, index += sz) {
        whole.set(data.subarray(index, index + sz), z0 + depth * (y0 + y + height * (x0 + x + width * n)));
      }
    }
  }
  return whole;
}
