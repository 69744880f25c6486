// Resampling by trilinear interpolation, as MONAI's Spacing does it and undoes it.
import { axesOf, fromAxes, invert, invert3, multiply, place, spacingOf, transpose, upperCholesky } from "./matrix.js";

const TOLERANCE = 1e-3; // MONAI's AFFINE_TOL

// The grid { shape, affine } of MONAI's Spacing: voxels of `pixdim` mm along the axes of a grid, without its shear.
export function spacedGrid({ shape, affine }, pixdim) {
  const axes = axesOf(affine);
  const sizes = spacingOf(affine).map((size) => (Math.abs(size - pixdim) <= TOLERANCE ? size : pixdim));
  const upper = upperCholesky(multiply(transpose(axes), axes));
  const rotation = multiply(axes, invert3(upper));
  const spaced = fromAxes(rotation.map((row) => row.map((value, axis) => value * sizes[axis])));
  const corners = Array.from({ length: 8 }, (_, k) => shape.map((edge, axis) => ((k >> (2 - axis)) & 1 ? edge - 1 : 0)));
  const between = multiply(invert(spaced), affine);
  const moved = corners.map((corner) => place(between, corner));
  const extent = [0, 1, 2].map((axis) => spread(moved.map((point) => point[axis])));
  const resampled = extent.map((length) => roundHalfEven(length + 1));
  const offset = originOf({ shape, affine }, { shape: resampled, affine: spaced }, corners, moved);
  spaced.slice(0, 3).forEach((row, axis) => (row[3] = offset[axis]));
  return { shape: resampled, affine: spaced };
}

// The corner that comes first along all new axes; else the centres of both grids agree.
function originOf(grid, spaced, corners, moved) {
  const first = moved.findIndex((corner) => moved.every((other) => other.every((value, axis) => value - corner[axis] >= -1e-8)));
  if (first >= 0) return place(grid.affine, corners[first]);
  const centre = place(grid.affine, grid.shape.map((edge) => edge / 2));
  const half = place(spaced.affine, spaced.shape.map((edge) => edge / 2));
  return centre.map((value, axis) => value - half[axis]);
}

const spread = (values) => Math.max(...values) - Math.min(...values);

function roundHalfEven(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

// Interpolates several volumes of one grid (x fastest) at the voxels of another; beyond the border its values continue.
export function resample(volumes, from, to) {
  const [[a, b, c, o], [d, e, f, p], [g, h, i, q]] = multiply(invert(from.affine), to.affine);
  const [width, height, depth] = from.shape;
  const resampled = volumes.map(() => new Float32Array(to.shape[0] * to.shape[1] * to.shape[2]));
  const far = [width - 1, height - 1, depth - 1];
  let index = 0;
  for (let z = 0; z < to.shape[2]; z++) {
    for (let y = 0; y < to.shape[1]; y++) {
      for (let x = 0; x < to.shape[0]; x++, index++) {
        const u = Math.min(Math.max(a * x + b * y + c * z + o, 0), far[0]);
        const v = Math.min(Math.max(d * x + e * y + f * z + p, 0), far[1]);
        const w = Math.min(Math.max(g * x + h * y + i * z + q, 0), far[2]);
        const u0 = Math.floor(u);
        const v0 = Math.floor(v);
        const w0 = Math.floor(w);
        const s = u - u0;
        const t = v - v0;
        const r = w - w0;
        const at = u0 + width * (v0 + height * w0);
        const right = u0 < far[0] ? 1 : 0;
        const front = v0 < far[1] ? width : 0;
        const up = w0 < far[2] ? width * height : 0;
        for (let n = 0; n < volumes.length; n++) {
          const voxels = volumes[n];
          const low = (1 - t) * ((1 - s) * voxels[at] + s * voxels[at + right]) + t * ((1 - s) * voxels[at + front] + s * voxels[at + front + right]);
          const high = (1 - t) * ((1 - s) * voxels[at + up] + s * voxels[at + up + right]) + t * ((1 - s) * voxels[at + up + front] + s * voxels[at + up + front + right]);
          resampled[n][index] = (1 - r) * low + r * high;
        }
      }
    }
  }
  return resampled;
}
