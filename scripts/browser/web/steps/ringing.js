// What interpolation by splines leaves around a brain; the rules are those of scripts/data/background.py.
import { fromFaces } from "./flood.js";
import { dilate, erode, largestPart } from "./morphology.js";

// The masks of the backgrounds of a case; those that ring share the outline of their one brain: that of the modalities that
// do not ring, else the largest part of what is bright in any of them, without what is thinner than three voxels.
export function shareOutline(backgrounds, shape) {
  const ringing = backgrounds.filter(({ brain }) => brain);
  if (!ringing.length) return backgrounds.map(({ mask }) => mask);
  const clear = backgrounds.filter(({ brain }) => !brain).map(({ mask }) => mask.map((outside) => 1 - outside));
  const brain = clear.length ? union(clear) : largestOpened(union(ringing.map(({ brain: one }) => one)), shape);
  const outline = fromFaces(brain.map((inside) => 1 - inside), shape);
  return backgrounds.map(({ mask, brain: rings }) => (rings ? outline : mask));
}

function largestOpened(mask, shape) {
  const part = largestPart(opened(mask, shape, 1), shape);
  return part.some(Boolean) ? part : mask;
}

const opened = (mask, shape, times) => dilate(erode(mask, shape, times), shape, times);

const union = (masks) => masks[0].map((_, index) => Number(masks.some((mask) => mask[index])));

// Tells whether what is below a background of 0 is little and wraps the brain, as ringing that was rounded.
export function undershoots({ voxels, shape }, same) {
  const below = new Uint8Array(voxels.length);
  const dark = new Uint8Array(voxels.length);
  let [count, other] = [0, 0];
  for (let index = 0; index < voxels.length; index++) {
    below[index] = voxels[index] < 0 ? 1 : 0;
    dark[index] = voxels[index] > 0 ? 0 : 1;
    count += below[index];
    other += 1 - same[index];
  }
  const ratio = count / Math.max(1, other);
  if (!(ratio > 1e-3 && ratio < 0.35)) return false; // a z-scored brain has more
  const filled = fromFaces(dark, shape).map((outside) => 1 - outside);
  const brain = opened(filled, shape, 2);
  const inner = erode(brain, shape, 1);
  const near = dilate(below, shape, 2);
  let [surface, wrapped] = [0, 0];
  for (let index = 0; index < brain.length; index++) {
    if (!brain[index] || inner[index]) continue;
    surface++;
    wrapped += near[index];
  }
  // where a brain's intensities were moved down, only some of its surface is below 0
  return wrapped > 0.9 * surface;
}
