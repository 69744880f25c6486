// Reads a NIfTI file, compressed or not, no further than its header announces; see scripts/data/checks.py.
import { checkHeader } from "./header_checks.js";
import { LARGEST_HEADER, readHeader, TYPES, unreadable } from "./nifti_header.js";
import { Refusal } from "./words.js";

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const OF_WEB_PAGES = ["<!doctype", "<html", "<?xml"];

// Returns { name, shape, affine, voxels }, voxels as float32, x fastest, of a file or of one `volume` in it, counted from 0.
// Refusals begin with the name.
export async function readVolume(file, volume) {
  const name = nameOf(file, volume);
  try {
    refuseMisnamed(file.name, new Uint8Array(await file.slice(0, 64).arrayBuffer()));
    return { name, ...(await readFrom(readerOf(file), volume)) };
  } catch (error) {
    if (error instanceof Refusal) throw new Refusal(`${name}: ${error.message}`);
    throw new Refusal(`${name}: ${unreadable(error.message).message}`);
  }
}

export const nameOf = (file, volume) => (volume === undefined ? file.name : `${file.name}, volume ${volume + 1}`);

// The bytes in which a header is.
export async function firstBytes(file) {
  const reader = readerOf(file);
  const bytes = await begin(reader, LARGEST_HEADER);
  reader.cancel().catch(() => {});
  return bytes;
}

function readerOf(file) {
  const isPacked = file.name.toLowerCase().endsWith(".gz");
  return (isPacked ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream()).getReader();
}

function refuseMisnamed(path, head) {
  const name = path.toLowerCase();
  const text = new TextDecoder("latin1").decode(head).trimStart().toLowerCase();
  if (OF_WEB_PAGES.some((start) => text.startsWith(start))) throw new Refusal("is a web page, as of a login that has expired; download the file again");
  if (text.startsWith("version https://git-lfs")) throw new Refusal("is a pointer of Git LFS, not the file itself; fetch it by `git lfs pull`");
  if (!/\.nii(\.gz)?$/.test(name)) throw new Refusal("is not NIfTI (.nii or .nii.gz); convert it");
  const isNifti = head.length >= 4 && [true, false].some((little) => [348, 540].includes(new DataView(head.buffer).getInt32(0, little)));
  const isGzip = head[0] === 0x1f && head[1] === 0x8b;
  if (name.endsWith(".gz") && isNifti) throw new Refusal(`is not compressed, although its name says so; rename it to ${path.slice(0, -".gz".length)}`);
  if (name.endsWith(".nii") && isGzip) throw new Refusal(`is compressed, although its name does not say so; rename it to ${path}.gz`);
}

async function readFrom(reader, volume) {
  let bytes = await begin(reader, LARGEST_HEADER);
  const header = readHeader(bytes);
  checkHeader(header);
  const Type = TYPES[header.datatype];
  const count = header.shape.reduce((product, axis) => product * axis, 1);
  const start = header.offset;
  const end = start + count * Type.BYTES_PER_ELEMENT;
  const content = new Uint8Array(end);
  let filled = 0;
  while (bytes) {
    const fitting = bytes.subarray(0, end - filled);
    content.set(fitting, filled);
    filled += fitting.length;
    if (fitting.length < bytes.length) throw new Refusal("has more voxels than its header announces; correct the header");
    bytes = await next(reader);
  }
  if (filled < end) throw new Refusal("is truncated, it ends before its voxels do; copy it again");
  const shape = header.shape.slice(0, volume === undefined ? undefined : 3);
  const size = shape.reduce((product, axis) => product * axis, Type.BYTES_PER_ELEMENT);
  const first = start + (volume ?? 0) * size;
  const voxels = scaled(content.buffer.slice(first, first + size), Type, header);
  if (!voxels.every(Number.isFinite)) throw new Refusal("has NaN or infinite voxels; set them to 0 or export the scan again");
  while (shape.length > 3 && shape.at(-1) === 1) shape.pop();
  return { shape, affine: header.affine, voxels };
}

// The first bytes of a stream, at least `count` if it has so many.
async function begin(reader, count) {
  let bytes = new Uint8Array(0);
  while (bytes.length < count) {
    const more = await next(reader);
    if (!more) break;
    const joined = new Uint8Array(bytes.length + more.length);
    joined.set(bytes);
    joined.set(more, bytes.length);
    bytes = joined;
  }
  return bytes;
}

async function next(reader) {
  const { value, done } = await reader.read();
  return done ? undefined : value;
}

function scaled(buffer, Type, { little, slope, intercept }) {
  if (little !== LITTLE && Type.BYTES_PER_ELEMENT > 1) swap(new Uint8Array(buffer), Type.BYTES_PER_ELEMENT);
  const stored = new Type(buffer);
  const isScaled = Number.isFinite(slope) && slope !== 0 && !(slope === 1 && intercept === 0);
  const isBig = stored instanceof BigInt64Array || stored instanceof BigUint64Array;
  if (isScaled) return Float32Array.from(stored, (value) => Number(value) * slope + intercept);
  return stored instanceof Float32Array ? stored : isBig ? Float32Array.from(stored, Number) : new Float32Array(stored);
}

function swap(bytes, size) {
  for (let start = 0; start < bytes.length; start += size) bytes.subarray(start, start + size).reverse();
}
