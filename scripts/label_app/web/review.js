// Reviews a case after the other: the server's cases, scans, segmentations and labels, seen and corrected in NiiVue.
import { call, json, scoreAll, signIn } from "./server.js";
import { intensities, loadConfidence, loadLabel, loadScan, middleOf, toImage, toMillimetres } from "./volumes.js";

const byId = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const pens = all("[data-pen]").filter((button) => Number(button.dataset.pen) > 0);
const colours = pens.map((button) => button.firstElementChild.dataset.colour);
const channel = (at) => [0, ...colours.map((colour) => parseInt(colour.slice(at, at + 2), 16))];
const NAMES = ["none", ...pens.map((button) => button.textContent)];
const VALUES = [0, ...pens.map((button) => Number(button.dataset.pen))];
const MULTIPLANAR_ROW = 3;
const CROSSHAIR = 1.2; // mm; where it is thinner than a pixel, lines of it are not drawn

const nv = new niivue.Niivue({
  isRadiologicalConvention: true,
  showAllOrientationMarkers: true,
  multiplanarShowRender: 0,
  multiplanarLayout: MULTIPLANAR_ROW,
  multiplanarPadPixels: 6,
  backColor: [0, 0, 0, 1],
  fontColor: [0.8, 0.84, 0.88, 1],
  crosshairColor: [0.35, 0.65, 1, 0.8],
  crosshairWidth: CROSSHAIR,
  crosshairWidthUnit: "mm",
  crosshairGap: 6,
  scrollRequiresFocus: true,
  dragAndDropEnabled: false,
  viewModeHotKey: "",
  clipPlaneHotKey: "",
  cycleClipPlaneHotKey: "",
  loadingText: "choose a case",
  logLevel: "error",
});
// `doubt` is the voxel that most needs a look; `strokes` counts those that can be undone
const state = { cases: {}, modality: "FLAIR", pen: "", strokes: 0, edited: false };
const closed = { name: "", origin: "", scans: {}, images: {}, figures: null, doubt: null };
Object.assign(state, closed);

// ---- one task after the other, so that a quick hand does not mix two cases
let last = Promise.resolve();
function run(words, task) {
  last = last.then(async () => {
    const focused = document.activeElement;
    byId("problem").hidden = true;
    byId("busy").textContent = words;
    document.body.ariaBusy = byId("desk").inert = true;
    await Promise.resolve().then(task).catch(complain);
    document.body.ariaBusy = byId("desk").inert = false;
    byId("busy").textContent = "";
    focused?.focus();
    reflect();
  });
  return last;
}

function complain(error) {
  byId("sign-in").hidden = error.status !== 401;
  byId("problem").textContent = error.message;
  byId("problem").hidden = false;
}

const discarding = () => !state.edited || confirm("There are corrections that are not saved. Discard them?");

// ---- the list
async function refresh() {
  state.cases = (await json("datastore/", { output: "all" })).objects;
  const reviewed = Object.values(state.cases).filter(({ labels }) => labels.final).length;
  byId("count").textContent = `${reviewed} of ${Object.keys(state.cases).length} cases reviewed`;
  const rank = (name) => state.cases[name].image.info.confidence ?? 2; // those without a score come last
  const order = (a, b) => rank(a) - rank(b) || a.localeCompare(b);
  byId("cases").replaceChildren(...Object.keys(state.cases).sort(order).map(row));
  reflect();
}

function row(name) {
  const { image, labels } = state.cases[name];
  const line = document.createElement("tr");
  line.dataset.case = name;
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
  button.addEventListener("click", () => discarding() && run(`Opening ${name} …`, () => openCase(name)));
  line.appendChild(document.createElement("th")).append(button);
  const { confidence, entropy, fault } = image.info;
  const cells = fault ? [fault] : [confidence, entropy].map((figure) => figure?.toFixed(3) ?? "–");
  for (const text of [...cells, labels.final ? "✓ reviewed" : ""]) line.insertCell().textContent = text;
  if (fault) Object.assign(line.cells[1], { colSpan: 2, className: "fault" });
  line.lastElementChild.className = "reviewed";
  return line;
}

async function next() {
  const { id } = await json(`activelearning/${byId("strategy").value}`, {}, { method: "POST" });
  if (!id) throw new Error("Nothing is left to review: every case is reviewed, or cannot be segmented.");
  await openCase(id);
}

// Runs beside the rest: cases can be reviewed meanwhile.
async function score() {
  const [button, progress, scored] = ["score", "progress", "scored"].map(byId);
  button.disabled = true;
  progress.hidden = false;
  progress.removeAttribute("value");
  scored.value = "starting";
  try {
    await scoreAll(async (done, count) => {
      scored.value = `${done} of ${count} scored`;
      Object.assign(progress, { max: count, value: done });
      await refresh();
    });
    await refresh();
    scored.value = "all scored";
  } catch (error) {
    scored.value = "";
    complain(error);
  }
  button.disabled = false;
  progress.hidden = true;
}

// ---- one case
// NiiVue would blend all layers anew at each volume that goes or comes; once, at the end, is enough
function replaceVolumes() {
  nv.updateGLVolume = () => {};
  while (nv.volumes.length) nv.removeVolume(nv.volumes.at(-1));
  const { scan, confidence } = state.images;
  if (confidence) confidence.opacity = opacityOf("confidence");
  for (const image of [scan, confidence]) if (image) nv.addVolume(image);
  delete nv.updateGLVolume;
  nv.updateGLVolume();
}

async function openCase(name) {
  const labels = state.cases[name]?.labels ?? {};
  const tag = ["final", "original"].filter((t) => labels[t]).sort((a, b) => labels[b].info.ts - labels[a].info.ts)[0];
  const scan = await loadScan(name, state.modality);
  const images = { scan, confidence: labels.confidence && (await loadConfidence(name)) };
  const label = tag && (await loadLabel(name, tag));
  nv.closeDrawing();
  Object.assign(state, closed, { name, images, scans: { [state.modality]: intensities(scan) } });
  replaceVolumes();
  showLabel(label, tag ? `label ${tag}, version ${labels[tag].info.version}` : "no label yet");
  moveTo([1, 2, 3].map((axis) => scan.hdr.dims[axis] >> 1));
}

function showLabel(label, origin) {
  const shown = label && nv.loadDrawing(label);
  if (!shown) nv.createEmptyDrawing();
  Object.assign(state, { origin, strokes: 0, edited: false });
  measure();
  nv.drawScene();
  if (label && !shown) throw new Error(`The ${origin} does not lie on the scan's grid, and is not shown.`);
}

async function showModality(modality) {
  state.scans[modality] ??= intensities(await loadScan(state.name, modality));
  state.modality = modality;
  Object.assign(state.images.scan, state.scans[modality]); // the volume stays, for the drawing lies on it
  nv.updateGLVolume();
  nv.createOnLocationChange();
}

async function segment() {
  const response = await call("infer/confidence", { image: state.name }, { method: "POST" });
  const form = await response.formData();
  const figures = JSON.parse(form.get("params"));
  const label = await toImage(form.get("image"));
  state.images.confidence = await loadConfidence(state.name);
  replaceVolumes();
  Object.assign(state, { figures, doubt: figures.slice && middleOf(label, figures.slice.index) });
  showLabel(label, "segmented");
  state.edited = true;
  if (state.doubt) moveTo(state.doubt);
}

function moveTo(voxel) {
  nv.scene.crosshairPos = nv.mm2frac(toMillimetres(voxel, state.images.scan), 0, true);
  nv.drawScene();
  nv.createOnLocationChange();
}

async function save() {
  if (!nv.drawBitmap.some(Boolean) && !confirm("The label is empty. Save it as reviewed?")) return;
  const body = new FormData();
  body.append("label", new File([await nv.saveImage({ filename: "", isSaveDrawing: true })], "label.nii"));
  await call("datastore/label", { image: state.name, tag: "final" }, { method: "PUT", body });
  state.edited = false;
  await refresh();
  state.origin = `saved as reviewed, version ${state.cases[state.name].labels.final.info.version}`;
}

// ---- what the page says
const opacityOf = (name) => Number(document.querySelector(`[data-overlay=${name}]`).value) / 100;

function setOpacity(name) {
  if (name === "label") nv.setDrawOpacity(opacityOf(name));
  else if (state.images.confidence) nv.setOpacity(nv.volumes.indexOf(state.images.confidence), opacityOf(name));
  reflect();
}

function setPen(value) {
  state.pen = value;
  nv.setDrawingEnabled(value !== "");
  if (value !== "") nv.setPenValue(Number(value), false);
  reflect();
}

// Brings the controls and texts in line with what is shown.
function reflect() {
  const open = Boolean(state.name);
  byId("case").textContent = state.name || "No case is open";
  byId("origin").textContent = state.origin + (state.edited ? " · not saved" : "");
  for (const line of byId("cases").rows) line.ariaCurrent = String(line.dataset.case === state.name);
  for (const button of all(".viewer button")) button.disabled = !open;
  for (const button of all("[data-modality]")) button.ariaPressed = String(button.dataset.modality === state.modality);
  for (const button of all("[data-pen]")) button.ariaPressed = String(button.dataset.pen === state.pen);
  byId("undo").disabled = !state.strokes;
  byId("doubt").disabled = !state.doubt;
  for (const slider of all("[data-overlay]")) {
    const there = slider.dataset.overlay === "label" ? open : Boolean(state.images.confidence);
    slider.disabled = !there;
    slider.nextElementSibling.value = there ? `${slider.value} %` : "none";
  }
  for (const line of all("[data-region]")) {
    const confidence = state.figures?.mean_confidence[line.dataset.region];
    line.cells[2].textContent = state.figures ? (confidence?.toFixed(3) ?? "none") : "";
  }
}

// Brings the volumes in line with the label.
function measure() {
  const counts = new Array(256).fill(0);
  for (const value of nv.drawBitmap) counts[value]++;
  const [, x, y, z] = state.images.scan.hdr.pixDims;
  for (const line of all("[data-values]")) {
    const voxels = line.dataset.values.split(",").reduce((sum, value) => sum + counts[value], 0);
    line.cells[1].textContent = ((voxels * x * y * z) / 1000).toFixed(1);
  }
}

nv.onLocationChange = ({ values }) => {
  if (!state.name || !nv.drawBitmap) return;
  const [, width, height, depth] = state.images.scan.dimsRAS;
  const [x, y, z] = nv.frac2vox(nv.scene.crosshairPos);
  const label = NAMES[VALUES.indexOf(nv.drawBitmap[x + width * (y + height * z)])];
  const words = [`axial ${z + 1} / ${depth}`, `coronal ${y + 1} / ${height}`, `sagittal ${x + 1} / ${width}`];
  words.push(`${state.modality} ${Math.round(values[0].value)}`, `label: ${label}`);
  if (values[1]) words.push(`confidence ${values[1].value} %`);
  byId("readout").textContent = words.join("   ·   ");
};

nv.onDrawingChanged = (action) => {
  if (action !== "draw" && action !== "undo") return;
  state.strokes = Math.min(state.strokes + (action === "draw" ? 1 : -1), nv.opts.maxDrawUndoBitmaps - 1);
  state.edited = true;
  measure();
  reflect();
};

function listen() {
  const on = (id, event, listener) => byId(id).addEventListener(event, listener);
  on("next", "click", () => discarding() && run("Asking for the next case …", next));
  on("score", "click", score);
  on("segment", "click", () => discarding() && run(`Segmenting ${state.name} …`, segment));
  on("save", "click", () => run(`Saving ${state.name} …`, save));
  on("doubt", "click", () => moveTo(state.doubt));
  on("undo", "click", () => nv.drawUndo());
  on("size", "change", ({ target }) => (nv.opts.penSize = Number(target.value)));
  on("view", "change", ({ target }) => {
    const onePlane = Number(target.value) !== nv.sliceTypeMultiplanar;
    byId("canvas").parentElement.classList.toggle("one-plane", onePlane);
    nv.setSliceType(Number(target.value));
    nv.setCrosshairWidth(onePlane ? CROSSHAIR / 2 : CROSSHAIR);
  });
  for (const button of all("[data-modality]")) {
    const { modality } = button.dataset;
    button.addEventListener("click", () => run(`Loading ${modality} …`, () => showModality(modality)));
  }
  for (const button of all("[data-pen]")) button.addEventListener("click", () => setPen(button.dataset.pen));
  for (const range of all("[data-overlay]")) range.addEventListener("input", () => setOpacity(range.dataset.overlay));
  on("sign-in", "submit", (event) => {
    event.preventDefault();
    run("Signing in …", async () => {
      await signIn(event.target);
      event.target.hidden = true;
      await refresh();
    });
  });
  window.addEventListener("beforeunload", (event) => state.edited && event.preventDefault());
}

run("Asking for the cases …", async () => {
  for (const swatch of all("[data-colour]")) swatch.style.background = swatch.dataset.colour;
  await nv.attachToCanvas(byId("canvas"));
  nv.setDrawColormap({ I: VALUES, R: channel(1), G: channel(3), B: channel(5), labels: NAMES });
  nv.setDrawOpacity(opacityOf("label"));
  listen();
  await refresh();
  document.documentElement.dataset.review = "ready";
});
