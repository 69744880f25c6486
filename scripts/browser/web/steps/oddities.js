// What is odd about the modalities, yet no reason to refuse them; see scripts/data/oddities.py.
import { general } from "./words.js";

// Sentences about modalities [{ name, modality, voxels }] that are the same, or have one value everywhere in the brain.
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
    const value = volume.voxels.find((voxel) => voxel !== 0);
    if (volume.voxels.every((voxel) => voxel === 0 || voxel === value)) {
      words.push(`${called(volume)}: is ${general(value)} everywhere in the brain, as a mask; give the scan itself`);
    }
  }
  return words;
}
