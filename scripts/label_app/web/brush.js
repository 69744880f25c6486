// What a pen draws, in place of NiiVue's squares of voxels: discs and balls in mm, and regions of similar intensity.
import { ACROSS } from "./between.js";

const ROUNDING = 1e-3; // mm, of a scan's spacing
const SIMILAR = 0.1; // share of the window by which a region's intensities may differ from where it was clicked

// `brush` holds `mm`, its diameter, and `form`, an option of the page; `plane` is set to that of the last stroke.
export function installBrush(nv, brush) {
  const spacing = () => nv.back.hdr.pixDims.slice(1, 4);
  const inPlane = () => !["ball", "region"].includes(brush.form);
  nv.drawPt = (x, y, z, value) => {
    brush.plane = nv.drawPenAxCorSag;
    if (brush.form.endsWith("region")) grow(nv, [x, y, z], value, { mm: brush.mm, in2D: inPlane() });
    else nv.drawPenLine([x, y, z], [x, y, z], value);
  };
  nv.drawPenLine = (from, to, value) => {
    if (brush.form.endsWith("region")) return;
    const offsets = stampOf(brush.form === "area" ? 0 : brush.mm, spacing(), inPlane() ? ACROSS[nv.drawPenAxCorSag] : null);
    const steps = Math.max(1, ...from.map((start, axis) => Math.abs(to[axis] - start)));
    for (let step = 0; step <= steps; step++) {
      stamp(nv, from.map((start, axis) => Math.round(start + ((to[axis] - start) * step) / steps)), offsets, value);
    }
  };
}

// Returns the voxels within a disc (`flat` is the axis across it) or ball of a diameter, relative to its middle.
export function stampOf(mm, spacing, flat) {
  const radius = mm / 2 + ROUNDING;
  const [x, y, z] = spacing.map((size, axis) => {
    const reach = axis === flat ? 0 : Math.floor(radius / size);
    return Array.from({ length: 2 * reach + 1 }, (_, index) => index - reach);
  });
  const offsets = x.flatMap((i) => y.flatMap((j) => z.map((k) => [i, j, k])));
  return offsets.filter((offset) => Math.hypot(...offset.map((step, axis) => step * spacing[axis])) <= radius);
}

function stamp(nv, middle, offsets, value) {
  const [width, height, depth] = nv.back.dims.slice(1, 4);
  for (const [i, j, k] of offsets) {
    const [x, y, z] = [middle[0] + i, middle[1] + j, middle[2] + k];
    if (x < 0 || y < 0 || z < 0 || x >= width || y >= height || z >= depth) continue;
    nv.drawBitmap[x + width * (y + height * z)] = value;
  }
}

// Draws what hangs together with a voxel, is as bright, and lies within `mm` of it.
function grow(nv, seed, value, { mm, in2D }) {
  const { cal_min, cal_max } = nv.back;
  const [middle, margin] = [nv.back.getValue(...seed), SIMILAR * (cal_max - cal_min)];
  const drawn = nv.drawBitmap;
  nv.drawBitmap = new Uint8Array(drawn.length); // NiiVue would go on with the label of the voxel
  nv.drawFloodFill(seed, 1, Infinity, middle - margin, middle + margin, 6, mm, in2D);
  nv.drawBitmap.forEach((found, index) => found && (drawn[index] = value));
  nv.drawBitmap = drawn;
}
