// Scales each modality to [0, 1] by percentiles of its brain, as scripts/data/transforms.py does.
import { PERCENTILES } from "../settings.js";
import { percentiles } from "./order_statistics.js";

// The voxels of a modality, scaled; 0, the background, stays 0.
export function scaled(voxels) {
  const brain = voxels.filter((value) => value !== 0);
  if (!brain.length) return voxels;
  const [low, high] = percentiles(brain, PERCENTILES);
  const [from, range] = [Math.fround(low), Math.fround(high - low)];
  const scale = low === high ? () => 1 : (value) => Math.min(Math.max(Math.fround(value - from) / range, 0), 1);
  return voxels.map((value) => (value === 0 ? 0 : scale(value)));
}
