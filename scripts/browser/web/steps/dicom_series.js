// Turns DICOM files into a NIfTI file for each series, by dcm2niix.
import { readHeader } from "./nifti_header.js";
import { Refusal } from "./words.js";

const MOST_BYTES = 2 ** 30;
// BIDS sidecars without the patient, no compression, and the axes as they were acquired
const OPTIONS = "-f %b -b y -ba y -z n -x i -o /out /in".split(" ");
// what dcm2niix says before a conversion, and what it means
const WARNINGS = [
  [/Bogus spatial matrix/, "lacks the position of a slice; export it again"],
  [/Interslice distance varies|Missing images/, "is not a regular stack of slices: a slice is missing, turned or out of place; export it again"],
];

export async function isDicom({ file, path }) {
  if (/\.(dcm|ima)$/i.test(path)) return true; // old files lack the mark
  return (await file.slice(128, 132).text()) === "DICM";
}

// Converts files [{ path, file }]; `create` and `wasmBinary` are of dcm2niix. Returns the series as [{ path, number,
// description, bytes, fault }]: the path of one of its files, and why it cannot be used, "" where it can.
export async function convertSeries(files, create, wasmBinary) {
  const size = files.reduce((sum, { file }) => sum + file.size, 0);
  if (size > MOST_BYTES) throw new Refusal(`${files.length} DICOM files of ${size >> 20} MiB; allowed are ${MOST_BYTES >> 20}, give the four series only`);
  const said = [];
  const hear = (line) => said.push(line);
  const { FS, callMain } = await create({ wasmBinary, print: hear, printErr: hear });
  for (const folder of ["/in", "/out"]) FS.mkdir(folder);
  for (const [index, { file }] of files.entries()) FS.writeFile(`/in/${index}`, new Uint8Array(await file.arrayBuffer()), { canOwn: true });
  callMain([...OPTIONS]);
  const truncated = said.map((line) => /not large enough to store image data: \/in\/(\d+)/.exec(line)).find(Boolean);
  if (truncated) throw new Refusal(`${files[truncated[1]].path}: is truncated, it ends before its pixels do; copy it again`);
  const names = FS.readdir("/out").filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -".json".length));
  if (!names.length) throw new Refusal(`no series found in ${files.length} DICOM files such as ${files[0].path}; give series of images`);
  return names.map((name) => {
    const { SeriesNumber = "", SeriesDescription = "" } = sidecarOf(FS.readFile(`/out/${name}.json`, { encoding: "utf8" }));
    const bytes = FS.readFile(`/out/${name}.nii`);
    return { path: files[parseInt(name)].path, number: SeriesNumber, description: SeriesDescription, bytes, fault: faultOf(bytes, said, name) };
  });
}

// dcm2niix writes a tab in a description as JSON does not allow it
function sidecarOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function faultOf(bytes, said, name) {
  const end = said.findIndex((line) => line.startsWith("Convert ") && line.includes(` as /out/${name} (`));
  const start = said.findLastIndex((line, index) => index < end && line.startsWith("Convert ")) + 1;
  const warned = WARNINGS.find(([warning]) => said.slice(start, end).some((line) => warning.test(line)));
  const isStack = readHeader(bytes).shape[2] > 1;
  return isStack && !warned ? "" : (warned ?? WARNINGS.at(-1))[1];
}
