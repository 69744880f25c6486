// From the files of a case to the network's input: the preprocessing of configs/inference.yaml, step by step.
import { CROP_MARGIN, SPACING } from "../settings.js";
import { findBackground } from "./background.js";
import { brainBox, crop } from "./box.js";
import { checkGrid, checkVolume } from "./header_checks.js";
import { scaled } from "./intensity.js";
import { fromAxes, multiply, spacingOf } from "./matrix.js";
import { readVolume } from "./nifti_file.js";
import { odditiesOf } from "./oddities.js";
import { toRas, turn } from "./orientation.js";
import { resample, spacedGrid } from "./resampling.js";
import { shareOutline } from "./ringing.js";
import { checkSkull } from "./skull.js";
import { Refusal } from "./words.js";

// Reads and checks the files [{ modality, file, volume }] of a case in their order; returns their volumes. `volume` is given
// where a file holds several.
export async function readCase(files, onShare = () => {}) {
  const volumes = [];
  for (const [index, { modality, file, volume }] of files.entries()) {
    volumes.push({ modality, ...(await readVolume(file, volume)) });
    onShare((index + 1) / files.length);
  }
  for (const volume of volumes) {
    named(volume.name, () => {
      checkVolume(volume);
      checkSkull(volume, spacingOf(volume.affine));
      checkGrid(volume, volumes[0]);
    });
  }
  return volumes;
}

// Turns the volumes of a case into the network's input. Backgrounds are set to 0 in place. Returns the input, what undoing
// it needs (the turned grid, the box in it, its grid before and after resampling), and warnings in words.
export function prepare(volumes) {
  const warnings = clearBackgrounds(volumes);
  const turned = toRas(volumes[0]);
  const modalities = volumes.map(({ voxels }) => scaled(turn(voxels, turned)));
  const box = brainBox(modalities, turned.shape, CROP_MARGIN);
  const grid = { shape: box.size, affine: multiply(turned.affine, fromAxes([[1, 0, 0], [0, 1, 0], [0, 0, 1]], box.start)) };
  const spaced = spacedGrid(grid, SPACING);
  const cropped = modalities.map((voxels) => crop(voxels, turned.shape, box));
  return { turned, box, grid, spaced, image: resample(cropped, grid, spaced), warnings };
}

function clearBackgrounds(volumes) {
  const words = [];
  const called = ({ name, modality }) => `${name} (${modality})`;
  const backgrounds = volumes.map((volume) => named(called(volume), () => findBackground(volume)));
  shareOutline(backgrounds, volumes[0].shape).forEach((mask, index) => {
    const { found } = backgrounds[index];
    if (!found || mask.every(Boolean)) return;
    words.push(`${called(volumes[index])}: ${found}; it is set to 0`);
    mask.forEach((outside, at) => outside && (volumes[index].voxels[at] = 0));
  });
  return [...words, ...odditiesOf(volumes)];
}

function named(name, action) {
  try {
    return action();
  } catch (error) {
    if (error instanceof Refusal) throw new Refusal(`${name}: ${error.message}`);
    throw error;
  }
}
