// Scales each modality to [0, 1] by percentiles of its brain, as scripts/data/transforms.py does.
import { PERCENTILES } from "../settings.js";
import { percentiles } from "./order_statistics.js";

// The voxels of a modality, scaled; 0, the background, stays 0.
export function scaled(voxels) {
  const result = new Float32Array(voxels.length);
  let count = 0;
  for (let index = 0; index < voxels.length; index++) if (voxels[index] !== 0) result[count++] = voxels[index];
  if (!count) return result;
  const [low, high] = percentiles(result.slice(0, count), PERCENTILES);
  const [from, range] = [Math.fround(low), Math.fround(high - low)];
  for (let index = 0; index < voxels.length; index++) {
    const value = voxels[index];
    result[index] = value === 0 ? 0 : range === 0 ? 1 : Math.min(Math.max(Math.fround(value - from) / range, 0), 1);
  }
  return result;
}
