// What is wrong with a header, and with the grids of two files; rules and words are those of scripts/data/checks.py.
import { CHECKS } from "../settings.js";
import { determinant, axesOf, place, spacingOf } from "./matrix.js";
import { correctedAffine, OTHER_TYPES, TYPES } from "./nifti_header.js";
import { codesOf } from "./orientation.js";
import { general, listed, Refusal, tuple } from "./words.js";

// NIfTI's codes of complex numbers
const COMPLEX = new Set([32, 1792, 2048]);

// Refuses a header with an absurd type, size or spacing, or whose entries contradict each other.
export function checkHeader(header) {
  checkUnits(header);
  checkSizes(header);
  checkForms(header);
}

function checkUnits({ units }) {
  if (units in CHECKS.UNITS) {
    throw new Refusal(`its header gives lengths in ${CHECKS.UNITS[units]}; give them in mm (xyzt_units 2, and affine and pixdim in mm)`);
  }
}

function checkSizes({ datatype, shape, affine }) {
  if (!(datatype in TYPES)) {
    const remedy = COMPLEX.has(datatype) ? "save its magnitude" : "save one number a voxel, no colours";
    throw new Refusal(`voxels of type ${OTHER_TYPES[datatype] ?? datatype}; only real numbers are allowed, ${remedy}`);
  }
  const voxels = shape.slice(0, 3).reduce((product, axis) => product * axis, 1);
  if (!shape.every((axis) => axis > 0 && axis <= CHECKS.MAX_AXIS) || voxels > CHECKS.MAX_VOXELS || shape.length > 5) {
    const limits = `1 to ${CHECKS.MAX_AXIS} voxels along an axis and ${CHECKS.MAX_VOXELS >> 20} Mi in all`;
    throw new Refusal(`its header announces the shape ${tuple(shape)}; allowed are ${limits}; export it again`);
  }
  const spacing = spacingOf(affine);
  const extents = shape.slice(0, 3).map((axis, index) => axis * spacing[index]);
  const flat = Math.abs(determinant(axesOf(affine))) < 0.1 * spacing[0] * spacing[1] * spacing[2];
  if (!(Math.min(...spacing) >= CHECKS.MIN_SPACING && Math.max(...extents) <= CHECKS.MAX_EXTENT) || flat) {
    const limits = `voxels of at least ${CHECKS.MIN_SPACING} mm and ${general(CHECKS.MAX_EXTENT)} mm along an axis`;
    throw new Refusal(`its header announces voxels of ${listed(spacing)} mm; allowed are ${limits}; export it again`);
  }
}

function checkForms(header) {
  const { codes, sizes, affine, shape, sform, qform } = header;
  const listedCodes = [codes.sform, codes.qform];
  if (!listedCodes.every((code) => code >= 0 && code <= CHECKS.MAX_CODE)) {
    throw new Refusal(`its header has sform_code and qform_code [${listedCodes.join(", ")}]; allowed are 0 to ${CHECKS.MAX_CODE}; correct them`);
  }
  const spacing = spacingOf(affine).slice(0, shape.length);
  const loaded = correctedAffine(header);
  const alike = affine.every((row, i) => row.every((value, j) => Math.abs(value - loaded[i][j]) <= CHECKS.AFFINE_TOLERANCE));
  const sized = spacing.every((size, axis) => Number.isFinite(sizes[axis]) && Math.abs(size - sizes[axis]) <= 1e-8 + 0.01 * Math.abs(sizes[axis]));
  if (!(alike && sized)) {
    const found = `${listed(spacing)} mm and ${listed(sizes)} mm`;
    throw new Refusal(`its affine and pixdim disagree about the voxels (${found}); export it again, or correct the header`);
  }
  if (!codes.sform || !codes.qform) return;
  // a head that is turned or moved is harmless; a mirrored one, or another axis, is not
  const along = spacing.map((size, axis) => [0, 1, 2].reduce((sum, row) => sum + sform[row][axis] * qform[row][axis], 0) < 0.5 * size * size);
  if (along.some(Boolean)) {
    throw new Refusal(`its sform and qform disagree (${codesOf(sform)} and ${codesOf(qform)}); set the code of the wrong one to 0`);
  }
}

// Refuses a volume that is not 3D, or has one value everywhere.
export function checkVolume(volume) {
  if (volume.shape.length !== 3) throw new Refusal(`shape ${tuple(volume.shape)}; a modality must be 3D, save it as one volume`);
  const [value] = volume.voxels;
  if (volume.voxels.every((other) => other === value)) {
    throw new Refusal(`is ${general(value)} everywhere; export the scan again`);
  }
}

// Refuses a volume on another grid than the first modality.
export function checkGrid(volume, first) {
  if (volume.shape.some((size, axis) => size !== first.shape[axis])) {
    throw new Refusal(`shape ${tuple(volume.shape)}, but ${first.name} has ${tuple(first.shape)}; resample it to the same grid`);
  }
  let off = 0;
  for (let corner = 0; corner < 8; corner++) {
    const point = first.shape.map((edge, axis) => ((corner >> axis) & 1 ? edge - 1 : 0));
    const [a, b] = [place(volume.affine, point), place(first.affine, point)];
    off = Math.max(off, Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]));
  }
  if (off > CHECKS.GRID_TOLERANCE) {
    throw new Refusal(`its affine places voxels up to ${general(off, 3)} mm beside those of ${first.name}; register the two`);
  }
}
