// Turns volumes to the axes right, anterior, superior, as NiBabel does.
import { axesOf, fromAxes, multiply, nearestRotation, spacingOf } from "./matrix.js";

// For each axis of the voxels: the axis of the world that it runs along most, and the sign; NiBabel's io_orientation.
export function orientationOf(affine) {
  const sizes = spacingOf(affine);
  const turn = nearestRotation(axesOf(affine).map((row) => row.map((value, axis) => value / sizes[axis])));
  const strengths = [0, 1, 2].map((axis) => Math.max(...turn.map((row) => Math.abs(row[axis]))));
  const found = [];
  for (const axis of [0, 1, 2].sort((a, b) => strengths[b] - strengths[a])) {
    const column = turn.map((row) => row[axis]);
    const world = column.reduce((best, value, row) => (Math.abs(value) > Math.abs(column[best]) ? row : best), 0);
    turn[world] = [0, 0, 0]; // taken
    found[axis] = { world, sign: column[world] < 0 ? -1 : 1 };
  }
  return found;
}

// Letters of the directions in which the axes of the voxels run, such as "LPS".
export const codesOf = (affine) => orientationOf(affine).map(({ world, sign }) => (sign > 0 ? "RAS" : "LPI")[world]).join("");

// How to go from the voxels of a grid to those of the same grid along right, anterior, superior.
export function toRas({ shape, affine }) {
  const found = orientationOf(affine);
  const from = [0, 1, 2].map((world) => found.findIndex((axis) => axis.world === world));
  const flipped = from.map((axis) => found[axis].sign < 0);
  const turned = from.map((axis) => shape[axis]);
  // column `world` of the matrix says which voxel axis it comes from
  const axes = [0, 1, 2].map((axis) => from.map((source, world) => (source === axis ? (flipped[world] ? -1 : 1) : 0)));
  const offset = [0, 1, 2].map((axis) => (found[axis].sign < 0 ? shape[axis] - 1 : 0));
  const steps = [1, shape[0], shape[0] * shape[1]];
  return {
    shape: turned,
    affine: multiply(affine, fromAxes(axes, offset)),
    // index of voxel (0, 0, 0), and the way to the next one along each turned axis, in the voxels of the file
    start: from.reduce((sum, axis, world) => sum + (flipped[world] ? (turned[world] - 1) * steps[axis] : 0), 0),
    steps: from.map((axis, world) => (flipped[world] ? -steps[axis] : steps[axis])),
  };
}

// Voxels (x fastest) of a file, in the order of the turned grid.
export function turn(voxels, { shape: [width, height, depth], start, steps }) {
  const turned = new voxels.constructor(voxels.length);
  let index = 0;
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      let at = start + y * steps[1] + z * steps[2];
      for (let x = 0; x < width; x++, at += steps[0]) turned[index++] = voxels[at];
    }
  }
  return turned;
}

// Writes the voxels of a box of the turned grid into a volume of the file's grid.
export function turnBack(box, { start: corner, size }, grid, volume) {
  let index = 0;
  for (let z = 0; z < size[2]; z++) {
    for (let y = 0; y < size[1]; y++) {
      let at = grid.start + corner[0] * grid.steps[0] + (corner[1] + y) * grid.steps[1] + (corner[2] + z) * grid.steps[2];
      for (let x = 0; x < size[0]; x++, at += grid.steps[0]) volume[at] = box[index++];
    }
  }
  return volume;
}
