// The worker in which DICOM becomes NIfTI; it ends with the conversion, which gives its memory back.
import { loadFile } from "./assets.js";
import createConverter from "./dcm2niix.mjs";
import { convertSeries } from "./steps/dicom_series.js";
import { explained } from "./steps/words.js";

self.addEventListener("message", async ({ data: files }) => {
  try {
    const series = await convertSeries(files, createConverter, await loadFile("dcm2niix.wasm.gz"));
    self.postMessage({ series }, series.map(({ bytes }) => bytes.buffer));
  } catch (error) {
    self.postMessage({ problem: explained(error) });
  }
});
