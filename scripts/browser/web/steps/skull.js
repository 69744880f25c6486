// Tells a brain from a whole head; the rules and the words are those of scripts/data/background.py.
import { BACKGROUND } from "../settings.js";
import { cornersOf, findBackground } from "./background.js";
import { depthOf } from "./distance.js";
import { fromFaces } from "./flood.js";
import { median, percentiles } from "./order_statistics.js";
import { Refusal } from "./words.js";

// Refuses a modality { voxels, shape } that shows a head.
export function checkSkull(volume, spacing) {
  const step = Math.ceil((volume.voxels.length / BACKGROUND.SAMPLES) ** (1 / 3));
  const thinned = thin(volume, step);
  const { mask } = findBackground(thinned);
  const size = spacing.map((edge) => edge * step);
  const inside = fromFaces(mask, thinned.shape).map((outside) => 1 - outside);
  const litres = (inside.reduce((sum, value) => sum + value, 0) * size[0] * size[1] * size[2]) / 1e6;
  if (litres > BACKGROUND.LARGEST_BRAIN) {
    throw new Refusal(`shows a whole head (${litres.toFixed(1)} l, a brain has up to ${BACKGROUND.LARGEST_BRAIN}); ${BACKGROUND.STRIP}`);
  }
  if (litres > BACKGROUND.LEAST_HEAD && hasDarkLayer(thinned, inside, size)) {
    throw new Refusal(`shows a whole head (scalp, dark bone and brain from outside inwards); ${BACKGROUND.STRIP}`);
  }
}

// Every `step`th voxel along each axis.
export function thin({ voxels, shape }, step) {
  const fewer = shape.map((axis) => Math.ceil(axis / step));
  const thinned = new Float32Array(fewer[0] * fewer[1] * fewer[2]);
  let index = 0;
  for (let z = 0; z < shape[2]; z += step) {
    for (let y = 0; y < shape[1]; y += step) {
      for (let x = 0; x < shape[0]; x += step) thinned[index++] = voxels[x + shape[0] * (y + shape[1] * z)];
    }
  }
  return { voxels: thinned, shape: fewer };
}

function hasDarkLayer(volume, inside, size) {
  const { voxels, shape } = volume;
  const brain = voxels.filter((_, index) => inside[index]);
  const below = brain.filter((value) => value < 0).length / brain.length;
  const [most] = percentiles(brain, [99]); // a few voxels of an overflow would outshine their layers
  // ratios of normalised intensities mean nothing
  if (below > 0.2 || Math.abs(median(cornersOf(volume))) > BACKGROUND.NOISE * most) return false;
  const depth = depthOf(inside, shape, size);
  const [sums, counts] = [[], []];
  const thickness = Math.max(...size, 2);
  voxels.forEach((value, index) => {
    if (!inside[index]) return;
    const layer = Math.floor(depth[index] / thickness);
    sums[layer] = (sums[layer] ?? 0) + Math.min(value, most);
    counts[layer] = (counts[layer] ?? 0) + 1;
  });
  const last = Array.from(counts).findLastIndex((number) => number >= 20);
  const means = Array.from({ length: last + 1 }, (_, layer) => (sums[layer] ?? 0) / (counts[layer] || 1));
  return means.some((mean, layer) => {
    if (layer < 1 || layer > means.length - 2) return false;
    return mean < BACKGROUND.DIP * Math.min(Math.max(...means.slice(0, layer)), Math.max(...means.slice(layer + 1)));
  });
}
