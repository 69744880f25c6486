// Between volumes (x fastest), one array each, and tensors of networks (channel, x, y, z; z fastest), one array for all.

export function toTensor(volumes, [width, height, depth]) {
  const tensor = new Float32Array(volumes.length * width * height * depth);
  let index = 0;
  for (const voxels of volumes) {
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        let at = x + width * y;
        for (let z = 0; z < depth; z++, at += width * height) tensor[index++] = voxels[at];
      }
    }
  }
  return tensor;
}

export function fromTensor(tensor, channels, [width, height, depth]) {
  const count = width * height * depth;
  return Array.from({ length: channels }, (_, channel) => {
    const voxels = new Float32Array(count);
    let index = channel * count;
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        let at = x + width * y;
        for (let z = 0; z < depth; z++, at += width * height) voxels[at] = tensor[index++];
      }
    }
    return voxels;
  });
}
