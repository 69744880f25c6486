// Scales each modality to [0, 1] by percentiles of its brain, as scripts/data/transforms.py does.
import { PERCENTILES } from "../settings.js";
import { percentiles } from "./order_statistics.js";

// Scales the voxels of a modality in place; 0, the background, stays 0.
export function scaleBrain(voxels) {
  const brain = voxels.filter((value) => value !== 0);
  if (!brain.length) return;
  const [low, high] = percentiles(brain, PERCENTILES);
  const [from, range] = [Math.fround(low), Math.fround(high - low)];
  for (let index = 0; index < voxels.length; index++) {
    const value = voxels[index];
    if (value === 0) continue;
    voxels[index] = low === high ? 1 : Math.min(Math.max(Math.fround(value - from) / range, 0), 1);
  }
}
