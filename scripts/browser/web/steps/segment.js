// Segments a case: what `run inferring` does with configs/inference.yaml and `--confidence true`.
import { HALVINGS, MAX_WHOLE_BRAIN_VOXELS, PATCH_SIZE, REGION_ORDER } from "../settings.js";
import { expectation } from "./expectation.js";
import { determinant, axesOf } from "./matrix.js";
import { turnBack } from "./orientation.js";
import { prepare, readCase } from "./prepare.js";
import { labelsOf, regionOf, swapConfidence } from "./regions.js";
import { resample } from "./resampling.js";
import { fromTensor, toTensor } from "./tensors.js";
import { slideOver } from "./windows.js";

// `networks` are those of networks.js, or anything with the same functions. `onStage(stage, share)` hears of the stages
// read, prepare, segment, judge and restore.
export async function segmentCase(files, networks, onStage = () => {}) {
  const times = {};
  const timed = async (stage, action) => {
    onStage(stage, 0);
    const start = performance.now();
    const result = await action((share) => onStage(stage, share));
    times[stage] = performance.now() - start;
    return result;
  };
  const volumes = await timed("read", (onShare) => readCase(files, onShare));
  const prepared = await timed("prepare", () => prepare(volumes));
  const { shape } = prepared.spaced;
  const image = toTensor(prepared.image, shape);
  const logits = await timed("segment", (onShare) => runSegmenter(networks, image, shape, onShare));
  const probabilities = logits.map((value) => 1 / (1 + Math.exp(-value)));
  const confidence = await timed("judge", () => networks.judge(probabilities, image, shape));
  const maps = await timed("restore", () => restore(prepared, probabilities, confidence));
  const { shape: whole, affine } = volumes[0];
  return {
    grid: { shape: whole, affine },
    scans: volumes.map(({ modality, voxels }) => ({ modality, voxels })),
    ...maps,
    warnings: prepared.warnings,
    times,
  };
}

// The whole brain at once where it is neither too large nor too thin.
async function runSegmenter(networks, image, shape, onShare) {
  const voxels = shape[0] * shape[1] * shape[2];
  if (Math.min(...shape) >= HALVINGS && voxels <= MAX_WHOLE_BRAIN_VOXELS) return networks.segment(image, shape);
  return slideOver({ data: image, shape }, image.length / voxels, REGION_ORDER.length, PATCH_SIZE, networks.segment, onShare);
}

// Labels and confidence (in per cent) on the grid of the files, and what is said of each region.
function restore({ turned, box, grid, spaced }, probabilities, confidence) {
  const regions = REGION_ORDER.length;
  const coarse = fromTensor(probabilities, regions, spaced.shape);
  const fine = resample(coarse, spaced, grid);
  const labels = labelsOf(fine);
  const swapped = swapConfidence(fromTensor(confidence, regions, spaced.shape), coarse);
  const certain = swapConfidence(resample(swapped, spaced, grid), fine);
  const millilitres = Math.abs(determinant(axesOf(grid.affine))) / 1000;
  const measures = REGION_ORDER.map((region, index) => [region, measured(regionOf(labels, region), certain[index], millilitres)]);
  const count = turned.shape[0] * turned.shape[1] * turned.shape[2];
  const onFile = (voxels, outside) => turnBack(voxels, box, turned, new Uint8Array(count).fill(outside));
  const percent = certain.map((values) => Uint8Array.from(values, (value) => Math.round(value * 100)));
  return {
    labels: onFile(labels, 0),
    confidence: Object.fromEntries(REGION_ORDER.map((region, index) => [region, onFile(percent[index], 100)])), // nothing is in doubt outside
    regions: Object.fromEntries(measures),
    millilitres,
  };
}

function measured(mask, confidence, millilitres) {
  const { dice, voxels, low, high } = expectation(mask, confidence);
  return { dice, volume: voxels * millilitres, low: low * millilitres, high: high * millilitres };
}
