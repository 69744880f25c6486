// The box of the brain.

// The box { start, size } of what is above 0 in any of the modalities (x fastest), with a margin within the volume.
export function brainBox(modalities, shape, margin) {
  const least = [...shape];
  const most = [-1, -1, -1];
  for (const voxels of modalities) {
    let index = 0;
    for (let z = 0; z < shape[2]; z++) {
      for (let y = 0; y < shape[1]; y++) {
        for (let x = 0; x < shape[0]; x++) {
          if (!(voxels[index++] > 0)) continue;
          if (x < least[0]) least[0] = x;
          if (x > most[0]) most[0] = x;
          if (y < least[1]) least[1] = y;
          if (y > most[1]) most[1] = y;
          if (z < least[2]) least[2] = z;
          if (z > most[2]) most[2] = z;
        }
      }
    }
  }
  const start = least.map((value) => Math.max(value - margin, 0));
  const size = most.map((value, axis) => Math.min(value + 1 + margin, shape[axis]) - start[axis]);
  return { start, size };
}

// The voxels of a box.
export function crop(voxels, [width, height], { start, size }) {
  const cropped = new Float32Array(size[0] * size[1] * size[2]);
  for (let z = 0; z < size[2]; z++) {
    for (let y = 0; y < size[1]; y++) {
      const at = start[0] + width * (start[1] + y + height * (start[2] + z));
      cropped.set(voxels.subarray(at, at + size[0]), size[0] * (y + size[1] * z));
    }
  }
  return cropped;
}
