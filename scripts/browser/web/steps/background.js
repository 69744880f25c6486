// Where the background of a modality is; the rules and the words are those of scripts/data/background.py.
import { BACKGROUND } from "../settings.js";
import { fromFaces } from "./flood.js";
import { dilate, maximumAround } from "./morphology.js";
import { median, percentiles } from "./order_statistics.js";
import { undershoots } from "./ringing.js";
import { general, Refusal } from "./words.js";

// The voxels in the boxes at the eight corners of a volume { voxels, shape }.
export function cornersOf({ voxels, shape }) {
  const sizes = shape.map((axis) => Math.max(1, Math.floor(BACKGROUND.CORNER * axis)));
  const ends = shape.map((axis, k) => [...new Set([...Array(sizes[k]).keys()].flatMap((at) => [at, axis - 1 - at]))]);
  const corners = [];
  for (const z of ends[2]) for (const y of ends[1]) for (const x of ends[0]) corners.push(voxels[x + shape[0] * (y + shape[1] * z)]);
  return Float32Array.from(corners);
}

// Returns { mask, found, brain }: 1 where the background is; how it differs from 0 in words, or ""; and 1 where what rings
// is clearly brain, or null where nothing rings.
export function findBackground(volume) {
  const { voxels, shape } = volume;
  const corners = cornersOf(volume);
  const level = median(corners);
  const constant = Math.fround(level);
  const same = marked(voxels, (value) => value === constant);
  if (share(same) >= BACKGROUND.CONSTANT && (level !== 0 || !undershoots(volume, same))) {
    return { mask: same, found: level === 0 ? "" : `has the background ${general(level)} in place of 0`, brain: null };
  }
  const [contrast] = percentiles(voxels.map((value) => Math.abs(value - level)), [99]);
  const [spread] = percentiles(corners.map((value) => Math.abs(value - level)), [99]);
  if (spread > BACKGROUND.NOISE * contrast) {
    throw new Refusal(`nothing uniform surrounds the brain (the corners vary by ${general(spread, 3)}); ${BACKGROUND.STRIP}`);
  }
  const tolerance = Math.max(2 * spread, BACKGROUND.TOLERANCE * contrast);
  const height = heightsOver(voxels, level, tolerance);
  const mask = fromFaces(marked(height, (value) => value <= tolerance), shape);
  if (share(mask) < BACKGROUND.LEAST_BACKGROUND) {
    throw new Refusal(`no background surrounds the brain (${(100 * share(mask)).toFixed(0)}% of the voxels); ${BACKGROUND.STRIP}`);
  }
  const found = `has a background that varies around ${general(level, 3)} in place of 0`;
  const grown = dilate(mask.map((outside) => 1 - outside), shape, 3);
  const [deviation] = percentiles(voxels.map((value) => Math.abs(value - level)).filter((_, index) => grown[index] && mask[index]), [90]);
  if (deviation <= Math.max(BACKGROUND.RINGING * spread, 1e-3 * contrast)) return { mask, found, brain: null };
  const around = maximumAround(height, shape);
  const brain = mask.map((_, index) => Number(height[index] > Math.max(BACKGROUND.EDGE * around[index], tolerance)));
  return { mask, found, brain };
}

// How far voxels are from the background. Where the brain is brighter than it, what is darker is background too:
// undershoots of an interpolation.
function heightsOver(voxels, level, tolerance) {
  const height = voxels.map((value) => Math.abs(value - level));
  let [other, darker] = [0, 0];
  for (let index = 0; index < voxels.length; index++) {
    other += Number(height[index] > tolerance);
    darker += Number(voxels[index] < level - tolerance);
  }
  return darker < 0.2 * other ? voxels.map((value) => value - level) : height;
}

function marked(voxels, test) {
  const mask = new Uint8Array(voxels.length);
  for (let index = 0; index < mask.length; index++) mask[index] = test(voxels[index]) ? 1 : 0;
  return mask;
}

function share(mask) {
  let count = 0;
  for (const value of mask) count += value;
  return count / mask.length;
}
