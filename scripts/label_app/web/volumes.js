// Brings the server's volumes into NiiVue, and finds places in them.
import { call } from "./server.js";

export const toImage = (blob, options) =>
  niivue.NVImage.loadFromFile({ file: new File([blob], "volume.nii.gz"), ...options });

async function load(path, query, options) {
  return toImage(await (await call(path, query)).blob(), options);
}

export const loadScan = (name, modality) => load("datastore/image", { image: `${name}@${modality.toLowerCase()}` });
export const loadLabel = (label, tag, options) => load("datastore/label", { label, tag }, options);
export const loadConfidence = (name) =>
  loadLabel(name, "confidence", { colormap: "viridis", cal_min: 0, cal_max: 100 });

// What one modality has for itself; the grid is that of the case.
export function intensities({ img, hdr, cal_min, cal_max, robust_min, robust_max, global_min, global_max }) {
  return { img, hdr, cal_min, cal_max, robust_min, robust_max, global_min, global_max };
}

// The middle voxel of what is labelled in a slice of the file's third axis; of the slice itself where nothing is.
export function middleOf({ img, hdr }, slice) {
  const [, width, height] = hdr.dims;
  const found = [];
  for (let at = 0; at < width * height; at++) if (img[slice * width * height + at]) found.push(at);
  const mean = (numbers) => Math.round(numbers.reduce((sum, number) => sum + number, 0) / numbers.length);
  if (!found.length) return [width >> 1, height >> 1, slice];
  return [mean(found.map((at) => at % width)), mean(found.map((at) => Math.floor(at / width))), slice];
}

// Where a voxel of the file lies in space.
export const toMillimetres = ([i, j, k], { hdr }) =>
  hdr.affine.slice(0, 3).map(([x, y, z, offset]) => x * i + y * j + z * k + offset);
