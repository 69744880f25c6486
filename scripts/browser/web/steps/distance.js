// The exact Euclidean distance transform (Felzenszwalb and Huttenlocher 2012), axis by axis.

// For each voxel of a mask (x fastest) the distance in mm to the nearest 0, where all around the volume is 0 too.
export function depthOf(mask, shape, spacing) {
  const squared = Float64Array.from(mask, (inside) => (inside ? Infinity : 0));
  const steps = [1, shape[0], shape[0] * shape[1]];
  const longest = Math.max(...shape) + 2;
  const scratch = { f: new Float64Array(longest), centres: new Int32Array(longest), borders: new Float64Array(longest + 1) };
  shape.forEach((length, axis) => {
    const [first, second] = [0, 1, 2].filter((other) => other !== axis);
    for (let b = 0; b < shape[second]; b++) {
      for (let a = 0; a < shape[first]; a++) {
        lowerEnvelope(squared, a * steps[first] + b * steps[second], steps[axis], length, spacing[axis], scratch);
      }
    }
  });
  return squared.map(Math.sqrt);
}

// Replaces f along a line by min over q of f(q) + (size (p - q))^2; f is 0 just before and just behind the line.
function lowerEnvelope(values, start, step, length, size, { f, centres, borders }) {
  f[0] = f[length + 1] = 0;
  for (let p = 0; p < length; p++) f[p + 1] = values[start + p * step];
  const scale = 1 / (size * size);
  let last = -1;
  for (let q = 0; q < length + 2; q++) {
    if (f[q] === Infinity) continue;
    let border = -Infinity;
    while (last >= 0) {
      const centre = centres[last];
      border = (f[q] * scale + q * q - f[centre] * scale - centre * centre) / (2 * (q - centre));
      if (border > borders[last]) break;
      last--;
    }
    last++;
    centres[last] = q;
    borders[last] = last ? border : -Infinity;
    borders[last + 1] = Infinity;
  }
  let parabola = 0;
  for (let p = 1; p <= length; p++) {
    while (borders[parabola + 1] < p) parabola++;
    const away = size * (p - centres[parabola]);
    values[start + (p - 1) * step] = away * away + f[centres[parabola]];
  }
}
