// From probabilities of the regions to a label map, as scripts/inference/postprocessing.py does, and its volumes.
import { REGION_ORDER, REGION_VALUES, TISSUE_OF_REGION } from "../settings.js";

// Labels of the regions' probabilities (x fastest): a voxel gets the tissue of the innermost region that contains it.
export function labelsOf(probabilities) {
  const labels = new Uint8Array(probabilities[0].length);
  for (const [region, value] of Object.entries(TISSUE_OF_REGION)) {
    const voxels = probabilities[REGION_ORDER.indexOf(region)];
    for (let index = 0; index < labels.length; index++) if (voxels[index] >= 0.5) labels[index] = value;
  }
  return labels;
}

// Exchanges the confidence in predictions for the probability of their regions, or back; only the latter may be resampled,
// see SwapConfidenced in scripts/inference/confidence.py.
export const swapConfidence = (values, probabilities) =>
  values.map((voxels, region) => voxels.map((value, index) => (probabilities[region][index] > 0.5 ? value : 1 - value)));

// 1 in the voxels of a region, by the values of labels.
export const regionOf = (labels, region) => labels.map((value) => Number(REGION_VALUES[region].includes(value)));
