// What a calibrated confidence says of a region without the truth; see scripts/evaluation/reliability/expected_dice.py.
import { COVERAGE } from "../settings.js";

// `mask` is 1 where the region was predicted, `confidence` the probability that each voxel is right.
export function expectation(mask, confidence) {
  const [certain, possible] = [(1 + COVERAGE) / 2, (1 - COVERAGE) / 2];
  let [hit, volume, voxels, low, high] = [0, 0, 0, 0, 0];
  for (let index = 0; index < mask.length; index++) {
    const probability = mask[index] ? confidence[index] : 1 - confidence[index];
    if (mask[index]) {
      voxels++;
      hit += probability;
    }
    volume += probability;
    if (probability > certain) low++;
    if (probability > possible) high++;
  }
  return { dice: voxels + volume > 0 ? (2 * hit) / (voxels + volume) : 1, volume, voxels, low, high };
}
