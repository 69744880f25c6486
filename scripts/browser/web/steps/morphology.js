// Morphology of masks (0 or 1, x fastest) by faces of voxels, as SciPy's ndimage computes it.

// Calls `visit(index, neighbour)` for each pair of voxels that share a face, and for each order of the two.
function eachPair([width, height, depth], visit) {
  const plane = width * height;
  let index = 0;
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, index++) {
        if (x > 0) visit(index, index - 1);
        if (x < width - 1) visit(index, index + 1);
        if (y > 0) visit(index, index - width);
        if (y < height - 1) visit(index, index + width);
        if (z > 0) visit(index, index - plane);
        if (z < depth - 1) visit(index, index + plane);
      }
    }
  }
}

export function dilate(mask, shape, times) {
  for (let time = 0; time < times; time++) {
    const grown = mask.slice();
    eachPair(shape, (index, other) => mask[other] && (grown[index] = 1));
    mask = grown;
  }
  return mask;
}

// What lies outside the volume counts as 0.
export function erode(mask, shape, times) {
  const [width, height, depth] = shape;
  const plane = width * height;
  for (let time = 0; time < times; time++) {
    const shrunk = mask.map((value, index) => {
      const [x, y, z] = [index % width, Math.floor(index / width) % height, Math.floor(index / plane)];
      const inside = x > 0 && y > 0 && z > 0 && x < width - 1 && y < height - 1 && z < depth - 1;
      return inside ? value : 0;
    });
    eachPair(shape, (index, other) => mask[other] || (shrunk[index] = 0));
    mask = shrunk;
  }
  return mask;
}

// The largest value in the box of 3 x 3 x 3 voxels around each voxel.
export function maximumAround(values, [width, height, depth]) {
  const steps = [1, width, width * height];
  return [width, height, depth].reduce((found, length, axis) => {
    const largest = found.slice();
    for (let index = 0; index < found.length; index++) {
      const at = Math.floor(index / steps[axis]) % length;
      if (at > 0) largest[index] = Math.max(largest[index], found[index - steps[axis]]);
      if (at < length - 1) largest[index] = Math.max(largest[index], found[index + steps[axis]]);
    }
    return largest;
  }, values);
}

// The largest connected part of a mask; an empty mask where there is none.
export function largestPart(mask, [width, height, depth]) {
  const parts = new Int32Array(mask.length);
  const waiting = new Int32Array(mask.length);
  const plane = width * height;
  const sizes = [0];
  for (let seed = 0; seed < mask.length; seed++) {
    if (!mask[seed] || parts[seed]) continue;
    const part = sizes.push(0) - 1;
    let count = 0;
    const visit = (index) => {
      if (!mask[index] || parts[index]) return;
      parts[index] = part;
      sizes[part]++;
      waiting[count++] = index;
    };
    visit(seed);
    while (count) {
      const index = waiting[--count];
      const [x, y] = [index % width, Math.floor(index / width) % height];
      if (x > 0) visit(index - 1);
      if (x < width - 1) visit(index + 1);
      if (y > 0) visit(index - width);
      if (y < height - 1) visit(index + width);
      if (index >= plane) visit(index - plane);
      if (index < plane * (depth - 1)) visit(index + plane);
    }
  }
  const largest = sizes.indexOf(Math.max(...sizes.slice(1)), 1);
  return mask.map((_, index) => Number(largest > 0 && parts[index] === largest));
}
