// Where the background of a modality is; the rules and the words are those of scripts/data/background.py.
import { BACKGROUND } from "../settings.js";
import { fromFaces } from "./flood.js";
import { median, percentiles } from "./order_statistics.js";
import { general, Refusal } from "./words.js";

// The voxels in the boxes at the eight corners of a volume { voxels, shape }.
export function cornersOf({ voxels, shape }) {
  const sizes = shape.map((axis) => Math.max(1, Math.floor(BACKGROUND.CORNER * axis)));
  const ends = shape.map((axis, k) => [...new Set([...Array(sizes[k]).keys()].flatMap((at) => [at, axis - 1 - at]))]);
  const corners = [];
  for (const z of ends[2]) for (const y of ends[1]) for (const x of ends[0]) corners.push(voxels[x + shape[0] * (y + shape[1] * z)]);
  return Float32Array.from(corners);
}

// Returns { mask, found }: 1 where the background is, and how it differs from 0 in words, or "".
export function findBackground(volume) {
  const { voxels, shape } = volume;
  const corners = cornersOf(volume);
  const level = median(corners);
  const constant = Math.fround(level);
  const mask = marked(voxels, (value) => value === constant);
  if (share(mask) >= BACKGROUND.CONSTANT) return { mask, found: level === 0 ? "" : `has the background ${general(level)} in place of 0` };
  const [contrast] = percentiles(voxels.map((value) => Math.abs(value - level)), [99]);
  const [spread] = percentiles(corners.map((value) => Math.abs(value - level)), [99]);
  if (spread > BACKGROUND.NOISE * contrast) {
    throw new Refusal(`nothing uniform surrounds the brain (the corners vary by ${general(spread, 3)}); ${BACKGROUND.STRIP}`);
  }
  const tolerance = Math.max(2 * spread, BACKGROUND.TOLERANCE * contrast);
  const near = nearLevel(voxels, level, tolerance);
  const outside = fromFaces(near, shape);
  if (share(outside) < BACKGROUND.LEAST_BACKGROUND) {
    throw new Refusal(`no background surrounds the brain (${(100 * share(outside)).toFixed(0)}% of the voxels); ${BACKGROUND.STRIP}`);
  }
  return { mask: outside, found: `has a background that varies around ${general(level, 3)} in place of 0` };
}

// Where the brain is brighter than the background, what is darker is background too: undershoots of an interpolation.
function nearLevel(voxels, level, tolerance) {
  const near = marked(voxels, (value) => Math.abs(value - level) <= tolerance);
  let other = 0;
  let darker = 0;
  for (let index = 0; index < voxels.length; index++) {
    other += 1 - near[index];
    darker += Number(voxels[index] < level - tolerance);
  }
  if (darker < 0.2 * other) voxels.forEach((value, index) => value < level - tolerance && (near[index] = 1));
  return near;
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
