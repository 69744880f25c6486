// Opens a case, and shows its scans, its label and the machine's uncertainty.
import { refresh } from "./background.js";
import { leaveComparison } from "./comparison.js";
import { confirms } from "./dialogs.js";
import { setTool } from "./drawing.js";
import { looks } from "./layers.js";
import { json, loadLabel, loadVolume, ofCase, post } from "./server.js";
import { become, drawn, edited, MODALITIES, nv, run, state, tell } from "./session.js";
import { byId, opacityOf, replaceVolumes } from "./slice_viewer.js";
import { Strokes } from "./strokes.js";
import { HEAT, showLabels } from "./viewer.js";
import { keepScan, showScan } from "./windows.js";

const NOT_REVIEWED = "machine's segmentation, not reviewed";
const pathOf = (modality) => `/scan/${modality.toLowerCase()}`;
const mayLeave = async () => !edited() || confirms("There are corrections that are not saved. Discard them?");

export async function open(name) {
  if (await mayLeave()) run(`Opening ${name} …`, () => openCase(name));
}

export async function openNext() {
  if (!(await mayLeave())) return;
  run("Asking for the next case …", async () => {
    const { id } = await post(`activelearning/${byId("strategy").value}`, { last: state.name });
    if (!id) throw new Error("Nothing is left to review: every case is reviewed, rejected or broken.");
    await openCase(id);
  });
}

export async function openCase(name) {
  const details = await json(ofCase(name));
  const newest = details.versions.at(-1)?.version ?? 0;
  const tag = newest ? `v${newest}` : details.segmentation ? "original" : "";
  const scan = await loadVolume(name, pathOf(state.modality));
  const label = tag && (await loadLabel(name, tag, details.grid));
  const uncertainty = details.segmentation && (await loadUncertainty(name));
  setTool("look");
  nv.closeDrawing();
  nv.clearAllMeasurements();
  become({ name, details, images: { scan, uncertainty } });
  tell("opened");
  keepScan(state.modality, scan);
  showLabels(nv, looks(), { redraw: false });
  replaceVolumes(nv, [scan, uncertainty].filter(Boolean));
  nv.createEmptyDrawing();
  if (label) nv.drawBitmap.set(label);
  state.strokes = new Strokes(nv.drawBitmap);
  state.origin = newest ? `version ${newest}` : tag ? NOT_REVIEWED : "no label yet";
  drawn();
  moveTo(details.segmentation?.look_at);
  for (const modality of MODALITIES) {
    if (modality !== state.modality) loadVolume(name, pathOf(modality)).then((found) => state.name === name && keepScan(modality, found), () => {});
  }
}

export const seeModality = (modality) =>
  run(`Loading ${modality} …`, async () => {
    if (!state.scans[modality]) keepScan(modality, await loadVolume(state.name, pathOf(modality)));
    showScan(modality);
  });

export async function segment() {
  if (!(await mayLeave())) return;
  run(`Segmenting ${state.name} …`, async () => {
    leaveComparison();
    state.details.segmentation = await post(ofCase(state.name, "/segmentation"));
    const label = await loadLabel(state.name, "original", state.details.grid);
    state.images.uncertainty = await loadUncertainty(state.name);
    const kept = nv.drawBitmap.slice();
    replaceVolumes(nv, Object.values(state.images));
    nv.drawBitmap.set(kept);
    replaceDrawing(label, NOT_REVIEWED);
    if (!state.details.versions.length) state.strokes.keep(); // the case opens with it from now on
    moveTo(state.details.segmentation.look_at);
    await refresh();
  });
}

// Puts other voxels into the drawing, as a stroke that can be undone.
export function replaceDrawing(voxels, origin) {
  leaveComparison();
  nv.drawBitmap.set(voxels);
  state.strokes.take(nv.drawBitmap, undefined, false);
  state.origin = origin;
  drawn();
}

export function moveTo(millimetres) {
  nv.scene.crosshairPos = millimetres ? nv.mm2frac(millimetres, 0, true) : [0.5, 0.5, 0.5];
  nv.drawScene();
  nv.createOnLocationChange();
}

async function loadUncertainty(name) {
  const image = await loadVolume(name, "/label/uncertainty", { cal_min: 0, cal_max: 100 });
  nv.addColormap("heat", HEAT);
  return Object.assign(image, { colormap: "heat", opacity: opacityOf("uncertainty") });
}
