// Reviews one case after the other: what buttons and keys do.
import { refresh, startTraining, stopTraining, watch } from "./background.js";
import { moveTo, open, openNext, seeModality, segment } from "./case.js";
import { nextView } from "./comparison.js";
import { fillBetweenSlices, guardCanvas, nextForm, setBrush, setForm, setTool, step, stepBrush } from "./drawing.js";
import { listenToKeys } from "./keys.js";
import { boxOf, look, setOverlay, toggle, toggleHidden } from "./layers.js";
import { askToSignIn, rename } from "./people.js";
import "./readout.js";
import { approve, approveWithComment, reject, saveDraft } from "./saving.js";
import { changed, edited, isBusy, MODALITIES, nv, run, state, TISSUES } from "./session.js";
import { all, byId } from "./slice_viewer.js";
import { exportNewest } from "./versions.js";
import { setView } from "./viewer.js";
import { nextWindow, showWindow } from "./windows.js";

const VIEWS = [...byId("view").options].map(({ value }) => value);
const whenOpen = (action) => (...given) => state.name && action(...given);
const scroll = (axis, by) => whenOpen(() => nv.moveCrosshairInVox(...[0, 1, 2].map((at) => (at === axis ? by : 0))));
const toUncertain = () => state.details?.segmentation && moveTo(state.details.segmentation.look_at);
const showKeys = () => byId("keys").showModal();

function showPlane(value) {
  byId("view").value = value;
  setView(nv, Number(value));
  nv.createOnLocationChange();
}

const KEYS = [
  ["N", "next case", openNext],
  ["S", "segment", whenOpen(segment)],
  ["A", "approve", whenOpen(() => approve())],
  ["Shift A", "approve with a comment", whenOpen(approveWithComment)],
  ["R", "reject, with a reason", whenOpen(reject)],
  ["Ctrl S", "save as draft", whenOpen(saveDraft)],
  ["Ctrl Z", "undo", () => step("undo")],
  ["Ctrl Y", "redo", () => step("redo")],
  ...MODALITIES.map((name, at) => [String(at + 1), name, whenOpen(() => seeModality(name))]),
  ["V", "three planes, axial, coronal, sagittal", () => showPlane(VIEWS[(VIEWS.indexOf(byId("view").value) + 1) % VIEWS.length])],
  ["ArrowUp", "next slice (axial)", scroll(2, 1)],
  ["ArrowDown", "slice before (axial)", scroll(2, -1)],
  ["ArrowRight", "next slice (sagittal)", scroll(0, 1)],
  ["ArrowLeft", "slice before (sagittal)", scroll(0, -1)],
  ["PageUp", "next slice (coronal)", scroll(1, 1)],
  ["PageDown", "slice before (coronal)", scroll(1, -1)],
  ["U", "slice to look at first", toUncertain],
  ["L", "look", () => setTool("look")],
  ["Escape", "", () => setTool("look")],
  ["E", "draw enhancing tumour", whenOpen(() => setTool("4"))],
  ["K", "draw core", whenOpen(() => setTool("1"))],
  ["O", "draw oedema", whenOpen(() => setTool("2"))],
  ["X", "erase (also: hold Ctrl)", whenOpen(() => setTool("0"))],
  ["M", "measure in mm", whenOpen(() => setTool("measure"))],
  ["P", "next form of the brush", nextForm],
  ["[", "smaller brush", () => stepBrush(-1)],
  ["]", "larger brush", () => stepBrush(1)],
  ["G", "fill between drawn slices", whenOpen(fillBetweenSlices)],
  ["H", "hide and show labels", toggleHidden],
  ["I", "outline only", () => toggle(byId("outline"))],
  ...["4", "1", "2"].map((value, at) => [`Shift ${"EKO"[at]}`, `show ${TISSUES[value].name}`, () => toggle(boxOf(value))]),
  ["B", "other version beside, differences, mine", whenOpen(nextView)],
  ["W", "next window", whenOpen(nextWindow)],
  ["?", "these keys", showKeys],
];

function listen() {
  const on = (id, event, listener) => byId(id).addEventListener(event, listener);
  const onAll = (selector, event, listener) => all(selector).forEach((found) => found.addEventListener(event, () => listener(found)));
  on("help", "click", showKeys);
  on("person", "click", async () => state.user || ((await rename()), changed()));
  on("next", "click", openNext);
  on("cases", "click", ({ target }) => target.closest("button") && open(target.closest("tr").dataset.case));
  on("segment", "click", segment);
  on("save", "click", saveDraft);
  on("approve", "click", () => approve());
  on("reject", "click", reject);
  on("uncertain", "click", toUncertain);
  on("undo", "click", () => step("undo"));
  on("redo", "click", () => step("redo"));
  on("between", "click", fillBetweenSlices);
  on("brush", "change", ({ target }) => setBrush(target.value));
  on("form", "change", ({ target }) => setForm(target.value));
  on("outline", "change", look);
  on("view", "change", ({ target }) => showPlane(target.value));
  on("window", "change", ({ target }) => state.name && showWindow(target.value));
  on("export", "click", exportNewest);
  on("train", "click", () => run("Starting the training …", () => startTraining(Number(byId("epochs").value))));
  on("stop", "click", () => run("Stopping the training …", stopTraining));
  onAll("[data-modality]", "click", ({ dataset }) => seeModality(dataset.modality));
  onAll("[data-tool]", "click", ({ dataset }) => setTool(dataset.tool));
  onAll("[data-overlay]", "input", ({ dataset }) => setOverlay(dataset.overlay));
  onAll("[data-visible]", "change", look);
  document.addEventListener("signed-out", ({ detail }) => askToSignIn(detail, refresh));
  document.addEventListener("visibilitychange", () => document.hidden || watch());
  window.addEventListener("beforeunload", (event) => edited() && event.preventDefault());
  listenToKeys(KEYS, () => !isBusy());
  guardCanvas();
}

run("Asking for the cases …", async () => {
  for (const swatch of all("[data-colour]")) swatch.style.background = swatch.dataset.colour;
  listen();
  await nv.attachToCanvas(byId("canvas"));
  await refresh().finally(() => (document.documentElement.dataset.review = "ready"));
  watch();
});
