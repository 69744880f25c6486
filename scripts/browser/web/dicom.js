// DICOM files as seen by the page: a NIfTI file for each series.
import { isDicom } from "./steps/dicom_series.js";
import { isVolume } from "./steps/file_names.js";
import { entriesOf } from "./steps/series_names.js";

// Returns files [{ path, file }] as they are where a NIfTI file or no DICOM file is among them; else what it converts.
export async function withoutDicom(entries, onStart) {
  if (entries.some(({ path }) => isVolume(path))) return entries;
  const marks = await Promise.all(entries.map(isDicom));
  const files = entries.filter((_, index) => marks[index]);
  if (!files.length) return entries;
  onStart(files.length);
  return entriesOf(await convert(files));
}

function convert(files) {
  const worker = new Worker(new URL("dicom_worker.js", import.meta.url), { type: "module" });
  const answered = new Promise((resolve, reject) => {
    worker.onmessage = ({ data: { series, problem } }) => (series ? resolve(series) : reject(new Error(problem)));
    worker.onerror = ({ message }) => reject(new Error(`the converter of DICOM failed (${message ?? "it could not be loaded"}); load the page again`));
  });
  worker.postMessage(files);
  return answered.finally(() => worker.terminate());
}
