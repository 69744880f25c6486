// Writes what is drawn as a NIfTI-1 file whose header is this page's own, so that nothing of a scan's header goes along.
const HEADER = 352;

// `bitmap` is NiiVue's drawing, `grid` and `mark` are what the server says of the case.
export function drawingFile(bitmap, { shape, affine }, mark) {
  if (bitmap.length !== shape[0] * shape[1] * shape[2]) throw new Error("The drawing has another size than its case.");
  const file = new Uint8Array(HEADER + bitmap.length);
  const header = new DataView(file.buffer);
  const int16 = (at, values) => values.forEach((value, index) => header.setInt16(at + 2 * index, value, true));
  const float32 = (at, values) => values.forEach((value, index) => header.setFloat32(at + 4 * index, value, true));
  header.setInt32(0, 348, true); // sizeof_hdr
  int16(40, [3, ...shape, 1, 1, 1, 1]); // dim
  int16(70, [2, 8]); // datatype uint8, bitpix
  const size = [0, 1, 2].map((axis) => Math.hypot(...affine.slice(0, 3).map((row) => row[axis])));
  float32(76, [1, ...size]); // pixdim
  float32(108, [HEADER]); // vox_offset
  header.setUint8(123, 2); // xyzt_units: mm
  int16(254, [1]); // sform_code
  affine.slice(0, 3).forEach((row, index) => float32(280 + 16 * index, row));
  file.set(new TextEncoder().encode(mark), 328); // intent_name
  file.set(new TextEncoder().encode("n+1\0"), 344);
  file.set(bitmap, HEADER);
  return file;
}

// SHA-256 of voxels and shape, as the server counts it; empty where the browser has none (without https).
export async function digestOf(bitmap, shape) {
  if (!globalThis.crypto?.subtle) return "";
  const words = new TextEncoder().encode(`(${shape.join(", ")})`);
  const content = new Uint8Array(words.length + bitmap.length);
  content.set(words);
  content.set(bitmap, words.length);
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
