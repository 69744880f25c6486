// A 4D file that holds the four modalities, as in the Medical Segmentation Decathlon and in nnU-Net.
import { KINDS, MODALITIES, MSD_CHANNELS } from "../settings.js";
import { isVolume, parsePath } from "./file_names.js";
import { firstBytes } from "./nifti_file.js";
import { readHeader } from "./nifti_header.js";
import { Refusal, tuple } from "./words.js";

// Returns files [{ path, file }] with each 4D file replaced by its four volumes, whose modalities a `dataset.json` among the
// files tells; without one they are in the order of the Decathlon. A file that its name tells a modality is left as it is.
export async function splitFiles(entries) {
  const found = await Promise.all(entries.map(holdsFour));
  if (!found.some(Boolean)) return entries;
  const description = entries.find(({ path }) => path.split("/").at(-1) === "dataset.json");
  const order = (description && (await readChannels(description))) || channelsOfMsd();
  return entries.flatMap((entry, index) => (found[index] ? volumesOf(entry, order) : [entry]));
}

const volumesOf = ({ path, file }, order) =>
  order.map((kind, volume) => ({ path: `${path}, volume ${volume + 1}`, file, volume, told: { case: parsePath(path).case, kind } }));

async function holdsFour({ path, file, told }) {
  if (told || parsePath(path).kind || !isVolume(path)) return false;
  const shape = await shapeOf(file);
  if (shape.length < 4) return false;
  if (shape.length === 4 && shape[3] === MODALITIES.length) return true;
  throw new Refusal(`${path}: shape ${tuple(shape)}; an image in one file must be 4D with 4 modalities, ${MODALITIES.join(", ")}`);
}

// The axes of more than one voxel at the end; none where it is no NIfTI file, which is refused when it is read.
async function shapeOf(file) {
  try {
    const { shape } = readHeader(await firstBytes(file));
    while (shape.length > 3 && shape.at(-1) === 1) shape.pop();
    return shape;
  } catch {
    return [];
  }
}

function channelsOfMsd() {
  const order = [];
  MODALITIES.forEach((modality, index) => (order[MSD_CHANNELS[index]] = modality));
  return order;
}

async function readChannels({ path, file }) {
  let content;
  try {
    content = JSON.parse(await file.text());
  } catch (error) {
    throw new Refusal(`${path}: cannot be read as JSON (${error.message}); correct it or move it away`);
  }
  const names = content?.channel_names ?? content?.modality ?? {};
  const listed = Object.keys(names).sort((a, b) => a - b).map((key) => String(names[key]));
  if (!listed.length) return undefined;
  const order = listed.map((name) => KINDS[name.trim().toLowerCase().replaceAll(/[- ]/g, "_")]);
  if (order.length !== MODALITIES.length || !MODALITIES.every((modality) => order.includes(modality))) {
    throw new Refusal(`${path}: its channels are ${listed.join(", ")}; ${MODALITIES.join(", ")} must be there once, correct it`);
  }
  return order;
}
