// The page: scans in, a segmentation out. What computes is in steps/ and runs in a worker.
import { loadAssets } from "./assets.js";
import { chosen, filesOfDrop, showAssignment } from "./assignment.js";
import { withoutDicom } from "./dicom.js";
import { isolate } from "./isolation.js";
import { savePicture } from "./picture.js";
import { saveConfidence, saveLabels, showRegions, showTimes, showWarnings } from "./results.js";
import { Cancelled, Segmenter } from "./segmenter.js";
import { MODALITIES } from "./settings.js";
import { all, byId } from "./slice_viewer.js";
import { findCase } from "./steps/file_names.js";
import { splitFiles } from "./steps/four_volumes.js";
import { nameOf } from "./steps/nifti_file.js";
import { showResult } from "./viewer.js";

const WORDS = {
  read: "Reading and checking the scans",
  prepare: "Preparing the brain",
  segment: "Segmenting",
  judge: "Asking the critic",
  restore: "Bringing the result to the scans' grid",
};
const SHARES = { read: [0, 0.3], prepare: [0.3, 0.45], segment: [0.45, 0.85], judge: [0.85, 0.9], restore: [0.9, 1] };
const state = { found: null, segmenter: null, result: null, running: false, converting: false };

const say = (words) => (byId("status").textContent = words);

function complain(error) {
  byId("problem").textContent = error?.message ?? "";
  byId("problem").hidden = !error;
  if (error) say("");
}

const complaining = (action) => async (...given) => {
  try {
    complain(null);
    await action(...given);
  } catch (error) {
    if (error instanceof Cancelled) say("Cancelled.");
    else complain(error);
  }
};

// Brings the controls in line with what can be done.
function reflect() {
  const slots = state.found ? Object.values(chosen()) : [];
  const isComplete = slots.length === MODALITIES.length && slots.every(Boolean);
  byId("segment").disabled = !isComplete || !state.segmenter || state.running || state.converting;
  byId("cancel").hidden = byId("progress").hidden = !state.running;
  for (const control of all("#drop button, #assignment select")) control.disabled = state.running || state.converting;
}

const take = complaining(async (entries) => {
  state.converting = true;
  reflect();
  try {
    const files = await withoutDicom(entries, (count) => say(`Converting ${count} DICOM files …`));
    state.found = findCase(await splitFiles(files));
    showAssignment(state.found);
  } finally {
    state.converting = false;
    reflect();
  }
  say(state.segmenter ? "Ready." : "");
  if (state.found.problem) throw new Error(`${state.found.id}: ${state.found.problem}`);
});

const segment = complaining(async () => {
  const entries = Object.entries(chosen());
  const names = entries.map(([, { file, volume }]) => nameOf(file, volume));
  entries.forEach(([modality, entry], index) => {
    const isTwice = entries.slice(0, index).some(([, other]) => other === entry);
    if (isTwice) throw new Error(`${names[index]}: is chosen twice; choose another file for ${modality}`);
    if (entry.fault) throw new Error(`${names[index]}: ${entry.fault}`);
  });
  const files = entries.map(([modality, { file, volume }]) => ({ modality, file, volume }));
  state.running = true;
  reflect();
  try {
    const result = await state.segmenter.segment(files, (stage, share) => {
      const [from, to] = SHARES[stage];
      byId("progress").value = from + share * (to - from);
      say(`${WORDS[stage]} …`);
    });
    await show({ ...result, id: state.found.id, enhancing: Number(byId("enhancing").value) });
    say("Done.");
  } finally {
    state.running = false;
    reflect();
  }
});

async function show(result) {
  state.result = result;
  byId("result").hidden = false;
  showWarnings(result.warnings);
  showRegions(result.regions);
  showTimes(result.times, state.segmenter.threads);
  await showResult(result);
  byId("result-title").focus({ preventScroll: true });
  byId("result").scrollIntoView();
  document.documentElement.dataset.result = result.id;
}

async function tryPhantom() {
  const names = MODALITIES.map((modality) => `phantom_${modality.toLowerCase()}.nii.gz`);
  const load = async (name) => new File([await (await fetch(`phantom/${name}`)).arrayBuffer()], name);
  const files = await Promise.all(names.map(load));
  await take(files.map((file) => ({ file, path: file.name })));
}

function listen() {
  const on = (id, event, listener) => byId(id).addEventListener(event, listener);
  on("choose-files", "click", () => byId("files").click());
  on("choose-folder", "click", () => byId("folder").click());
  on("phantom", "click", complaining(tryPhantom));
  on("segment", "click", segment);
  on("cancel", "click", () => state.segmenter.cancel());
  on("save-labels", "click", () => saveLabels(state.result));
  on("save-confidence", "click", () => saveConfidence(state.result, byId("region").value));
  on("save-picture", "click", complaining(() => savePicture(state.result)));
  for (const id of ["files", "folder"]) {
    on(id, "change", async ({ target }) => {
      await take([...target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
      target.value = ""; // so that the same files can be chosen again
    });
  }
  for (const select of all("[data-slot]")) select.addEventListener("change", () => (complain(null), reflect()));
  document.addEventListener("dragover", (event) => (event.preventDefault(), byId("drop").classList.add("over")));
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? byId("drop").classList.remove("over"));
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    byId("drop").classList.remove("over");
    if (!state.running && !state.converting) await take(await filesOfDrop(event.dataTransfer));
  });
}

const start = complaining(async () => {
  listen();
  if (!(await isolate())) return; // the page is about to load again
  const assets = await loadAssets((share) => say(`Loading the networks: ${Math.round(share * 100)} % …`));
  state.segmenter = new Segmenter(assets);
  await state.segmenter.ready;
  say(state.found ? "Ready." : "Ready. The network is not needed any more.");
  reflect();
  document.documentElement.dataset.page = "ready";
});

start();
