// What is odd about the modalities, yet no reason to refuse them; rules and words are those of scripts/data/oddities.py.
import { general } from "./words.js";

const CUT_OFF = 0.05;
const WRAPPED = 0.04;
const EXPORT = "export the scan again in a type that holds its values, such as int16 or float32";

// Sentences about modalities [{ name, modality, voxels, shape }] that are the same, and about intensities that are a mask's,
// cut off or wrapped around.
export function odditiesOf(volumes) {
  const words = [];
  const called = ({ name, modality }) => `${name} (${modality})`;
  volumes.forEach((first, index) => {
    for (const second of volumes.slice(index + 1)) {
      if (first.voxels.every((value, at) => value === second.voxels[at])) {
        words.push(`${called(first)} and ${called(second)}: are identical, so one is not what its name says`);
      }
    }
  });
  for (const volume of volumes) {
    const odd = oddIntensities(volume);
    if (odd) words.push(`${called(volume)}: ${odd}`);
  }
  return words;
}

function oddIntensities({ voxels, shape }) {
  const brain = voxels.filter((voxel) => voxel !== 0);
  if (brain.length < 2) return "";
  const [least, most] = [Math.min, Math.max].map((extreme) => brain.reduce((found, value) => extreme(found, value)));
  if (least === most) return `is ${general(most)} everywhere in the brain, as a mask; give the scan itself`;
  const percent = (share) => `${(100 * share).toFixed(0)}%`;
  const share = brain.reduce((count, value) => count + (value === most), 0) / brain.length;
  if (share > CUT_OFF) {
    return `${percent(share)} of its brain is exactly ${general(most)}, its largest value: what is brighter was cut off; ${EXPORT}`;
  }
  const apart = shareApart(voxels, shape[0], (most - least) / 2);
  if (apart > WRAPPED) {
    return `neighbours in its brain differ as in noise (${percent(apart)} by more than half of its range): values beyond a type's range have wrapped around; ${EXPORT}`;
  }
  return "";
}

// Of the voxels of the brain that are neighbours along the first axis, the share that differs by more than `limit`.
function shareApart(voxels, width, limit) {
  let [pairs, apart] = [0, 0];
  voxels.forEach((value, index) => {
    if (!value || !voxels[index + 1] || (index + 1) % width === 0) return;
    pairs += 1;
    apart += Math.abs(voxels[index + 1] - value) > limit;
  });
  return pairs ? apart / pairs : 0;
}
