// Reads and writes headers of NIfTI. An own reader of its fields, because the checks compare sform, qform and pixdim,
// which libraries for browsers merge into one affine, and not by NiBabel's rule.
import { fromAxes, spacingOf } from "./matrix.js";
import { Refusal } from "./words.js";

const BYTE = { size: 1, read: "getUint8" };
const INT16 = { size: 2, read: "getInt16" };
const INT32 = { size: 4, read: "getInt32" };
const INT64 = { size: 8, read: "getBigInt64" };
const FLOAT = { size: 4, read: "getFloat32" };
const DOUBLE = { size: 8, read: "getFloat64" };
// place, type and number of the fields of both versions, by the size of the header, and how it is marked
const FIELDS = {
  348: {
    magic: { at: 344, text: "n+1" },
    dim: [40, INT16, 8], datatype: [70, INT16, 1], pixdim: [76, FLOAT, 8], offset: [108, FLOAT, 1], scaling: [112, FLOAT, 2],
    units: [123, BYTE, 1], codes: [252, INT16, 2], quaternion: [256, FLOAT, 3], origin: [268, FLOAT, 3], rows: [280, FLOAT, 12],
  },
  540: {
    magic: { at: 4, text: "n+2" },
    dim: [16, INT64, 8], datatype: [12, INT16, 1], pixdim: [104, DOUBLE, 8], offset: [168, INT64, 1], scaling: [176, DOUBLE, 2],
    units: [500, INT32, 1], codes: [344, INT32, 2], quaternion: [352, DOUBLE, 3], origin: [376, DOUBLE, 3], rows: [400, DOUBLE, 12],
  },
};
export const LARGEST_HEADER = 540;
// the types of voxels that are real numbers, and the names of others
export const TYPES = {
  2: Uint8Array, 4: Int16Array, 8: Int32Array, 16: Float32Array, 64: Float64Array, 256: Int8Array, 512: Uint16Array, 768: Uint32Array,
  1024: BigInt64Array, 1280: BigUint64Array,
};
export const OTHER_TYPES = { 32: "complex64", 128: "[('R', 'u1'), ('G', 'u1'), ('B', 'u1')]", 1536: "float128", 1792: "complex128", 2048: "complex256", 2304: "[('R', 'u1'), ('G', 'u1'), ('B', 'u1'), ('A', 'u1')]" };

// Reads a header from the first bytes of a file: shape, type, scaling and the three ways to tell the affine.
export function readHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const begins = bytes.byteLength >= 348 ? [true, false].map((little) => view.getInt32(0, little)) : [];
  const little = begins[0] in FIELDS;
  const size = begins.find((found) => found in FIELDS);
  const magic = FIELDS[size]?.magic;
  const isWhole = magic && bytes.byteLength >= size && new TextDecoder("latin1").decode(bytes.subarray(magic.at, magic.at + 3)) === magic.text;
  if (!isWhole) throw unreadable("it is no NIfTI file");
  const values = (name) => {
    const [at, { size: step, read }, count] = FIELDS[size][name];
    return Array.from({ length: count }, (_, index) => Number(view[read](at + index * step, little)));
  };
  const [count, ...dim] = values("dim");
  if (count < 0 || count > 7) throw unreadable(`its header announces ${count} axes`);
  const shape = count ? dim.slice(0, count) : [0];
  const [factor, ...pixdim] = values("pixdim");
  const sizes = pixdim.slice(0, 3);
  const zooms = sizes.map((zoom) => Math.abs(zoom) || (zoom === 0 ? 1 : zoom)); // as NiBabel corrects them
  const [qform, sform] = values("codes");
  const [slope, intercept] = values("scaling");
  const [offset] = values("offset");
  if (offset !== 0 && !(offset >= size + 4 && offset < Infinity)) throw unreadable(`its header places the voxels at byte ${offset}`);
  const header = { little, shape, sizes, zooms, datatype: values("datatype")[0], offset, slope, intercept, units: values("units")[0] & 7, codes: { sform, qform } };
  const rows = values("rows");
  header.sform = [rows.slice(0, 4), rows.slice(4, 8), rows.slice(8, 12), [0, 0, 0, 1]];
  header.qform = qformOf(values("quaternion"), values("origin"), zooms, factor);
  header.affine = sform > 0 ? header.sform : qform > 0 ? header.qform : baseAffine(shape, zooms);
  return header;
}

export const unreadable = (reason) => new Refusal(`cannot be read, truncated or damaged (${reason}); copy it again`);

// NiBabel's: a half turn has the real part 0, whatever float32 leaves of it, and what is no rotation has no real part.
const ROUNDED = 3 * 2 ** -23;

function qformOf([b, c, d], origin, zooms, factor) {
  const square = 1 - b * b - c * c - d * d;
  const a = Math.abs(square) < ROUNDED ? 0 : Math.sqrt(square);
  const turn = [
    [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
    [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
    [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
  ];
  const length = a * a + b * b + c * c + d * d;
  const sizes = [zooms[0], zooms[1], factor === -1 ? -zooms[2] : zooms[2]].map((size) => size / length);
  return fromAxes(turn.map((row) => row.map((value, axis) => value * sizes[axis])), origin);
}

// Where neither form has a code: the centre of the volume is the origin, and the first axis runs to the left.
function baseAffine(shape, zooms) {
  const sizes = [-zooms[0], zooms[1], zooms[2]];
  return fromAxes(sizes.map((size, row) => sizes.map((_, column) => (row === column ? size : 0))), sizes.map((size, axis) => (-size * ((shape[axis] ?? 1) - 1)) / 2));
}

// The affine that MONAI takes where sform and pixdim differ.
export function correctedAffine({ affine, sform, qform, codes, zooms, shape }) {
  const close = (sizes) => sizes.slice(0, shape.length).every((size, axis) => Math.abs(size - zooms[axis]) <= 1e-8 + 1e-5 * zooms[axis]);
  const [sformFits, qformFits] = [close(spacingOf(sform)), close(spacingOf(qform))];
  if (codes.sform !== 0 && sformFits) return affine;
  if (codes.sform !== 0 && qformFits) return qform;
  if (codes.qform !== 0 && !qformFits && sformFits) return sform;
  return affine;
}

// The bytes of a NIfTI-1 file of whole numbers from 0 to 255 or of float32; `step` is what one of them stands for.
export function writeNifti(voxels, { shape, affine }, { mark, step = 1 }) {
  const start = 352;
  const bytes = new Uint8Array(start + voxels.byteLength);
  const header = new DataView(bytes.buffer);
  const int16 = (at, values) => values.forEach((value, index) => header.setInt16(at + 2 * index, value, true));
  const float32 = (at, values) => values.forEach((value, index) => header.setFloat32(at + 4 * index, value, true));
  const isFloat = voxels instanceof Float32Array;
  const form = quaternionOf(affine);
  header.setInt32(0, 348, true);
  header.setUint8(38, "r".charCodeAt(0)); // regular
  int16(40, [3, ...shape, 1, 1, 1, 1]); // dim
  int16(70, isFloat ? [16, 32] : [2, 8]); // datatype, bitpix
  float32(76, [form.factor, ...spacingOf(affine), 1, 1, 1, 1]); // pixdim
  float32(108, [start, step, 0]); // vox_offset, scl_slope, scl_inter
  header.setUint8(123, 2); // xyzt_units: mm
  bytes.set(new TextEncoder().encode(mark).slice(0, 79), 148); // descrip
  int16(252, [form.exact ? 1 : 0, 1]); // qform_code, sform_code
  float32(256, [...form.quaternion, ...affine.slice(0, 3).map((row) => row[3])]);
  affine.slice(0, 3).forEach((row, index) => float32(280 + 16 * index, row));
  bytes.set(new TextEncoder().encode("n+1\0"), 344);
  bytes.set(new Uint8Array(voxels.buffer, voxels.byteOffset, voxels.byteLength), start);
  return bytes;
}

// The quaternion of an affine's rotation, and whether it says all: it cannot express shear.
function quaternionOf(affine) {
  const sizes = spacingOf(affine);
  const r = affine.slice(0, 3).map((row) => row.slice(0, 3).map((value, axis) => value / sizes[axis]));
  const mirrored = r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1]) - r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0]) + r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]) < 0;
  if (mirrored) r.forEach((row) => (row[2] = -row[2]));
  const root = (value) => Math.sqrt(Math.max(value, 0)) / 2;
  const [a, b, c, d] = [
    root(1 + r[0][0] + r[1][1] + r[2][2]),
    root(1 + r[0][0] - r[1][1] - r[2][2]),
    root(1 - r[0][0] + r[1][1] - r[2][2]),
    root(1 - r[0][0] - r[1][1] + r[2][2]),
  ];
  // the largest of the four tells the signs of the others
  const most = Math.max(a, b, c, d);
  let quaternion;
  if (most === a) quaternion = [(r[2][1] - r[1][2]) / (4 * a), (r[0][2] - r[2][0]) / (4 * a), (r[1][0] - r[0][1]) / (4 * a)];
  else if (most === b) quaternion = signed((r[2][1] - r[1][2]) / (4 * b), [b, (r[0][1] + r[1][0]) / (4 * b), (r[0][2] + r[2][0]) / (4 * b)]);
  else if (most === c) quaternion = signed((r[0][2] - r[2][0]) / (4 * c), [(r[0][1] + r[1][0]) / (4 * c), c, (r[1][2] + r[2][1]) / (4 * c)]);
  else quaternion = signed((r[1][0] - r[0][1]) / (4 * d), [(r[0][2] + r[2][0]) / (4 * d), (r[1][2] + r[2][1]) / (4 * d), d]);
  const factor = mirrored ? -1 : 1;
  const again = qformOf(quaternion, affine.slice(0, 3).map((row) => row[3]), sizes, factor);
  const exact = again.every((row, i) => row.every((value, j) => Math.abs(value - affine[i][j]) <= 1e-3));
  return { quaternion, factor, exact };
}

const signed = (real, rest) => (real < 0 ? rest.map((value) => -value) : rest);
