// What is connected with the faces of a volume.

// Marks the voxels of a mask (0 or 1, x fastest) that are connected with a face, by faces of voxels.
export function fromFaces(mask, [width, height, depth]) {
  const reached = new Uint8Array(mask.length);
  const waiting = new Int32Array(mask.length);
  let count = 0;
  const visit = (index) => {
    if (mask[index] && !reached[index]) {
      reached[index] = 1;
      waiting[count++] = index;
    }
  };
  const plane = width * height;
  for (let index = 0; index < plane; index++) (visit(index), visit(index + plane * (depth - 1)));
  for (let z = 0; z < depth; z++) {
    for (let x = 0; x < width; x++) (visit(z * plane + x), visit(z * plane + (height - 1) * width + x));
    for (let y = 0; y < height; y++) (visit(z * plane + y * width), visit(z * plane + y * width + width - 1));
  }
  while (count) {
    const index = waiting[--count];
    const x = index % width;
    const y = Math.floor(index / width) % height;
    if (x > 0) visit(index - 1);
    if (x < width - 1) visit(index + 1);
    if (y > 0) visit(index - width);
    if (y < height - 1) visit(index + width);
    if (index >= plane) visit(index - plane);
    if (index < plane * (depth - 1)) visit(index + plane);
  }
  return reached;
}
