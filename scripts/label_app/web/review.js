// Reviews one case after the other: scans, segmentations and versions of the server, seen, corrected and decided.
import { showCases, showScoring, showTraining } from "./cases.js";
import { ask, confirms } from "./dialogs.js";
import { digestOf, drawingFile } from "./drawing_file.js";
import { listenToKeys } from "./keys.js";
import { call, json, loadVolume, ofCase, put, signIn } from "./server.js";
import { all, byId, opacityOf, press, replaceVolumes, taskQueue, updateSliders } from "./slice_viewer.js";
import { Strokes } from "./strokes.js";
import { createReviewer, crosshairWidth, DIFFERENT, HEAT, intensities, showLabels, useTool, WINDOWS } from "./viewer.js";

const MODALITIES = all("[data-modality]").map((button) => button.dataset.modality);
const BRUSHES = [...byId("brush").options].map(({ value }) => value);
const TISSUES = Object.fromEntries(
  all("[data-visible]").map((box) => {
    const head = box.closest("tr").cells[0];
    return [Number(box.dataset.visible), { name: head.textContent, colour: head.firstElementChild.dataset.colour }];
  }),
);
const PATIENCE = { busy: 1500, idle: 8000 }; // ms between two looks at the server

const nv = createReviewer(TISSUES);
const closed = { name: "", details: null, scans: {}, images: {}, strokes: null, origin: "", other: null, view: "mine" };
const state = { cases: [], user: null, modality: "FLAIR", tool: "look", windows: {}, hidden: false, ...closed };

// ---- one task after the other, so that a quick hand does not mix two cases
const queue = taskQueue(complain);
let waiting = 0;
function run(words, task) {
  return queue(async () => {
    const focused = document.activeElement;
    waiting++;
    byId("problem").hidden = true;
    byId("busy").textContent = words;
    document.body.ariaBusy = byId("desk").inert = true;
    try {
      await task();
    } finally {
      waiting--;
      document.body.ariaBusy = byId("desk").inert = false;
      byId("busy").textContent = "";
      focused?.focus();
      reflect();
    }
  });
}

async function complain(error) {
  if (error.status === 401) return showSignIn(error.message);
  say(error.message);
}

function say(words) {
  byId("problem").textContent = words;
  byId("problem").hidden = !words;
}

async function showSignIn(words) {
  byId("sign-in").querySelector("p").textContent = words.includes("wrong") ? words : "This server asks who you are.";
  const told = await ask("sign-in");
  if (told) run("Signing in …", async () => (await signIn(told.username, told.password), refresh()));
}

const edited = () => Boolean(state.strokes?.edited);
const mayLeave = async () => !edited() || confirms("There are corrections that are not saved. Discard them?");

async function who() {
  if (state.user) return state.user;
  const known = localStorage.getItem("reviewer") || (await rename());
  if (!known) throw new Error("Nothing was saved: say who you are first.");
  return known;
}

async function rename() {
  const told = await ask("name");
  if (told?.by.trim()) localStorage.setItem("reviewer", told.by.trim());
  return told?.by.trim();
}

// ---- the list, and what runs in the background
async function refresh() {
  const { cases, user, scoring, training } = await json("review/cases");
  Object.assign(state, { cases, user });
  showCases(cases, state.name, open);
  showScoring(scoring);
  showTraining(training, cases.filter((line) => line.state.state === "reviewed").length);
  reflect();
  return scoring.running || training.running;
}

let timer;
async function watch() {
  clearTimeout(timer);
  const busy = waiting || document.hidden ? false : await refresh().catch(() => false);
  timer = setTimeout(watch, busy ? PATIENCE.busy : PATIENCE.idle);
}

async function open(name) {
  if (await mayLeave()) run(`Opening ${name} …`, () => openCase(name));
}

async function next() {
  if (!(await mayLeave())) return;
  run("Asking for the next case …", async () => {
    const options = { method: "POST", body: JSON.stringify({ last: state.name }), headers: { "Content-Type": "application/json" } };
    const { id } = await json(`activelearning/${byId("strategy").value}`, {}, options);
    if (!id) throw new Error("Nothing is left to review: every case is reviewed, rejected or broken.");
    await openCase(id);
  });
}

// ---- one case
async function openCase(name) {
  const details = await json(ofCase(name));
  const newest = details.versions.at(-1)?.version ?? 0;
  const tag = newest ? `v${newest}` : details.segmentation ? "original" : "";
  const path = (modality) => `/scan/${modality.toLowerCase()}`;
  const scan = await loadVolume(name, path(state.modality));
  const label = tag && (await loadVolume(name, `/label/${tag}`));
  const uncertainty = details.segmentation && (await loadUncertainty(name));
  setTool("look");
  nv.closeDrawing();
  nv.clearAllMeasurements();
  Object.assign(state, closed, { name, details, images: { scan, uncertainty }, scans: {}, hidden: false });
  keepScan(state.modality, scan);
  showWindow(byId("window").value);
  showLabels(nv, looks(), { redraw: false });
  replaceVolumes(nv, [scan, uncertainty].filter(Boolean));
  showLabel(label, newest ? `version ${newest}` : tag ? "machine's segmentation, not reviewed" : "no label yet");
  moveTo(details.segmentation?.look_at);
  for (const modality of MODALITIES) {
    if (modality !== state.modality) loadVolume(name, path(modality)).then((found) => state.name === name && keepScan(modality, found), () => {});
  }
}

async function loadUncertainty(name) {
  const image = await loadVolume(name, "/label/uncertainty", { cal_min: 0, cal_max: 100 });
  nv.addColormap("heat", HEAT);
  Object.assign(image, { colormap: "heat", opacity: opacityOf("uncertainty") });
  return image;
}

function keepScan(modality, scan) {
  state.scans[modality] = intensities(scan);
}

function showLabel(label, origin) {
  nv.createEmptyDrawing();
  if (label) nv.drawBitmap.set(checked(label));
  state.strokes = new Strokes(nv.drawBitmap);
  Object.assign(state, { origin, other: null, view: "mine" });
  nv.refreshDrawing(true);
  measure();
}

// The voxels of a label that the server sent; its grid is that of the scan or nothing is shown.
function checked({ img, hdr }) {
  const { shape } = state.details.grid;
  if (shape.some((size, axis) => hdr.dims[axis + 1] !== size)) throw new Error("The label does not lie on the scan's grid.");
  return img;
}

const looks = () => ({
  visible: all("[data-visible]").filter((box) => box.checked).map((box) => Number(box.dataset.visible)),
  outline: byId("outline").checked,
  hidden: state.hidden,
});

async function showModality(modality) {
  if (!state.scans[modality]) keepScan(modality, await loadVolume(state.name, `/scan/${modality.toLowerCase()}`));
  state.modality = modality;
  Object.assign(state.images.scan, state.scans[modality]); // the volume stays, for the drawing lies on it
  byId("window").value = "usual";
  nv.updateGLVolume();
  nv.createOnLocationChange();
}

function showWindow(preset) {
  const { scan } = state.images;
  [scan.cal_min, scan.cal_max] = WINDOWS[preset](scan);
  keepScan(state.modality, scan);
  if (!nv.volumes.includes(scan)) return;
  nv.updateGLVolume();
  nv.createOnLocationChange();
}

async function segment() {
  leaveComparison();
  state.details.segmentation = await json(ofCase(state.name, "/segmentation"), {}, { method: "POST" });
  const [label, uncertainty] = [await loadVolume(state.name, "/label/original"), await loadUncertainty(state.name)];
  Object.assign(state.images, { uncertainty });
  const kept = nv.drawBitmap.slice();
  replaceVolumes(nv, [state.images.scan, uncertainty]);
  nv.drawBitmap.set(kept);
  replaceDrawing(checked(label), "machine's segmentation, not reviewed");
  moveTo(state.details.segmentation.look_at);
  await refresh();
}

// Puts other voxels into the drawing, as a stroke that can be undone.
function replaceDrawing(voxels, origin) {
  leaveComparison();
  nv.drawBitmap.set(voxels);
  state.strokes.take(nv.drawBitmap, () => false);
  state.origin = origin;
  nv.refreshDrawing(true);
  measure();
  reflect();
}

function moveTo(millimetres) {
  nv.scene.crosshairPos = millimetres ? nv.mm2frac(millimetres, 0, true) : [0.5, 0.5, 0.5];
  nv.drawScene();
  nv.createOnLocationChange();
}

// ---- saving
async function save(decision, comment = "") {
  const by = await who();
  leaveComparison();
  const { name, details, strokes } = state;
  const drawn = strokes.shown.slice();
  if (decision === "reviewed" && !drawn.some(Boolean) && !(await confirms("The label is empty. Approve that there is no tumour?"))) return;
  const path = ofCase(name, decision ? `/decision/${decision}` : "/label");
  const file = drawingFile(drawn, details.grid, details.mark);
  const send = (based_on) => put(path, { based_on, by, ...(decision && { comment }) }, file);
  let stored;
  try {
    stored = await send(details.versions.at(-1)?.version ?? 0);
  } catch (error) {
    if (error.status !== 409) throw error;
    stored = await resolve(error.detail, send);
    if (!stored) return;
  }
  const digest = await digestOf(drawn, details.grid.shape);
  if (digest && digest !== stored.voxels) throw new Error("The server stored other voxels than you drew. Keep this page open and report it.");
  strokes.keep();
  state.details = await json(ofCase(name));
  const words = { reviewed: "approved", rejected: "rejected" }[decision] ?? "saved as draft";
  state.origin = `${words}, version ${stored.version}`;
  await refresh();
}

// Somebody else has saved since the case was opened: what now? Returns what was stored, if anything was.
async function resolve({ message, newest }, send) {
  const answer = await ask("conflict", `${message}. Nothing of yours is lost, and nothing of theirs.`);
  if (answer?.choice === "mine") return send(newest.version);
  if (answer?.choice === "theirs") await openCase(state.name);
  if (answer?.choice === "look") {
    state.details = { ...(await json(ofCase(state.name))), versions: state.details.versions };
    await compare(`v${newest.version}`);
  }
}

async function decide(decision) {
  if (!state.name) return;
  const told = decision === "rejected" ? await ask("reason") : undefined;
  if (decision === "rejected" && !told) return;
  run(`Saving ${state.name} …`, () => save(decision, told?.comment));
}

async function approveWithComment() {
  const told = state.name && (await ask("comment"));
  if (told) run(`Saving ${state.name} …`, () => save("reviewed", told.comment));
}

// ---- two labels of one case
async function compare(tag) {
  state.other = { tag, voxels: checked(await loadVolume(state.name, `/label/${tag}`)).slice() };
  showView("other");
}

// Shows mine, the other one, and where they differ, in turn; only mine can be drawn on.
function nextView() {
  if (!state.other) return say("Choose a version to compare with first: Compare, in the list of versions.");
  showView({ mine: "other", other: "difference", difference: "mine" }[state.view]);
}

function showView(view) {
  const { shown } = state.strokes;
  state.view = view;
  if (view !== "mine") setTool("look");
  const voxels = { mine: () => shown, other: () => state.other.voxels };
  voxels.difference = () => shown.map((value, index) => (value === state.other.voxels[index] ? 0 : DIFFERENT));
  nv.drawBitmap.set(voxels[view]());
  nv.refreshDrawing(true);
  measure();
  reflect();
}

function leaveComparison() {
  if (state.view !== "mine") showView("mine");
}

function showVersions() {
  const { versions = [], decisions = [], segmentation } = state.details ?? {};
  const lines = versions.map((version) => ({ tag: `v${version.version}`, title: `Version ${version.version}`, ...version }));
  if (segmentation) lines.unshift({ tag: "original", title: "Machine's segmentation", by: "not reviewed", at: segmentation.at });
  byId("versions").replaceChildren(
    ...lines.reverse().map((line) => {
      const item = document.createElement("li");
      const about = decisions.filter(({ version }) => version && `v${version}` === line.tag);
      const words = [`${line.title}: ${line.by}, ${line.at.replace("T", " ").slice(0, 16)}`];
      words.push(...about.map(({ state: what, by, comment }) => `${what} by ${by}${comment && `: ${comment}`}`));
      for (const text of words) item.append(Object.assign(document.createElement("div"), { textContent: text }));
      const bar = item.appendChild(Object.assign(document.createElement("div"), { className: "bar" }));
      for (const [text, action] of [["Compare", () => compare(line.tag)], ["Restore", () => restore(line)]]) {
        const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
        button.addEventListener("click", () => run(`Loading ${line.title} …`, action));
        bar.append(button);
      }
      item.ariaCurrent = String(state.other?.tag === line.tag);
      return item;
    }),
  );
}

async function restore({ tag, title }) {
  replaceDrawing(checked(await loadVolume(state.name, `/label/${tag}`)), `${title} restored into the drawing`);
}

// ---- drawing
function setTool(tool) {
  if (tool !== "look") leaveComparison();
  state.tool = tool;
  nv.opts.isFilledPen = byId("fill").value === "area";
  useTool(nv, tool);
  press("tool", tool);
  setBrush(byId("brush").value);
  byId("canvas").focus({ preventScroll: true }); // else the first stroke would only give it the focus
}

function setBrush(millimetres) {
  byId("brush").value = millimetres;
  const size = state.images.scan ? Math.min(...state.images.scan.hdr.pixDims.slice(1, 4)) : 1;
  nv.opts.penSize = Math.max(1, Math.round(Number(millimetres) / size));
}

const stepBrush = (by) => setBrush(BRUSHES[Math.min(Math.max(BRUSHES.indexOf(byId("brush").value) + by, 0), BRUSHES.length - 1)]);

// Takes over what a stroke drew; what lies in air, or outside the window where the brush asks for that, is taken back.
function takeStroke(anywhere) {
  if (!state.strokes || state.view !== "mine") return;
  const scans = Object.values(state.scans).map(({ img }) => img);
  const { img, cal_min, cal_max } = state.images.scan;
  const inWindow = byId("fill").value !== "window" ? () => true : (index) => img[index] >= cal_min && img[index] <= cal_max;
  const inAir = (index) => scans.every((voxels) => voxels[index] === 0);
  const refuse = (index, old, now) => now !== 0 && !anywhere && (inAir(index) || !inWindow(index));
  const { changed, refused } = state.strokes.take(nv.drawBitmap, refuse);
  if (refused) {
    nv.refreshDrawing(true);
    say(`${refused} voxels outside the brain${byId("fill").value === "window" ? " or the window" : ""} were not drawn. Hold Alt to draw there.`);
  } else if (changed) say("");
  if (changed || refused) measure();
  nv.createOnLocationChange(); // of the crosshair, not of the pen
  reflect();
}

function step(direction) {
  if (!state.strokes) return;
  leaveComparison();
  state.strokes[direction](nv.drawBitmap);
  nv.refreshDrawing(true);
  measure();
  reflect();
}

// The first click after another window was in front, or another control had the focus, only gives the focus.
function guardCanvas() {
  const canvas = byId("canvas");
  let away = false, anywhere = false, pressed = false;
  window.addEventListener("blur", () => (away = true));
  canvas.addEventListener(
    "mousedown",
    (event) => {
      const pen = /^\d$/.test(state.tool);
      if (pen && (away || document.activeElement !== canvas)) {
        event.stopImmediatePropagation();
        event.preventDefault();
        canvas.focus();
      } else {
        pressed = true;
        anywhere = event.altKey;
        if (pen) nv.setPenValue(event.ctrlKey ? 0 : Number(state.tool), byId("fill").value === "area");
      }
      away = false;
    },
    { capture: true },
  );
  const end = () => {
    if (pressed) setTimeout(() => takeStroke(anywhere)); // NiiVue hears of it first
    pressed = false;
  };
  window.addEventListener("mouseup", end);
  canvas.addEventListener("mouseleave", end);
}

// ---- what the page says
// Brings controls and texts in line with what is shown.
function reflect() {
  const isOpen = Boolean(state.name);
  byId("person").textContent = state.user ?? localStorage.getItem("reviewer") ?? "Who are you?";
  byId("case").textContent = byId("case").title = state.name || "No case is open";
  const viewed = { mine: "", other: ` · showing ${state.other?.tag}, B goes on`, difference: ` · differences to ${state.other?.tag}, B goes on` };
  byId("origin").textContent = byId("origin").title = state.origin + (edited() ? " · changed, not saved" : "") + viewed[state.view];
  for (const line of byId("cases").rows) line.ariaCurrent = String(line.dataset.case === state.name);
  for (const button of all(".viewer button, #uncertain")) button.disabled = !isOpen;
  press("modality", state.modality);
  press("tool", state.tool);
  byId("undo").disabled = !state.strokes?.done.length;
  byId("redo").disabled = !state.strokes?.undone.length;
  byId("uncertain").disabled = !state.details?.segmentation?.look_at;
  updateSliders((name) => (name === "label" ? isOpen : Boolean(state.images.uncertainty)));
  const newest = state.details?.versions.at(-1)?.version;
  byId("download").hidden = !newest;
  byId("download").href = newest ? `../datastore/label?label=${encodeURIComponent(state.name)}&tag=v${newest}` : "";
  showVersions();
}

// Brings the volumes in line with what is shown.
function measure() {
  const counts = new Array(256).fill(0);
  for (const value of nv.drawBitmap) counts[value]++;
  const [, x, y, z] = state.images.scan.hdr.pixDims;
  for (const line of all("#volumes [data-values]")) {
    const voxels = line.dataset.values.split(",").reduce((sum, value) => sum + counts[value], 0);
    line.cells[1].textContent = ((voxels * x * y * z) / 1000).toFixed(1);
  }
  if (state.view === "difference") say(`${counts[DIFFERENT]} voxels differ from ${state.other.tag}.`);
}

nv.onLocationChange = ({ values }) => {
  if (!state.name || !nv.drawBitmap) return;
  const [width, height, depth] = state.details.grid.shape;
  const [x, y, z] = nv.frac2vox(nv.scene.crosshairPos);
  const label = TISSUES[nv.drawBitmap[x + width * (y + height * z)]]?.name ?? "none";
  const words = [`axial ${z + 1} / ${depth}`, `coronal ${y + 1} / ${height}`, `sagittal ${x + 1} / ${width}`];
  const { cal_min, cal_max } = state.images.scan;
  words.push(`${state.modality} ${Math.round(values[0].value)} (window ${Math.round(cal_min)} to ${Math.round(cal_max)})`, `label: ${label}`);
  if (values[1]) words.push(`uncertainty ${values[1].value} %`);
  byId("readout").textContent = words.join("   ·   ");
};
nv.onIntensityChange = () => {
  if (state.images.scan) keepScan(state.modality, state.images.scan);
  nv.createOnLocationChange();
};

function setOverlay(name) {
  if (name === "label") showLabels(nv, looks());
  else if (state.images.uncertainty) nv.setOpacity(nv.volumes.indexOf(state.images.uncertainty), opacityOf(name));
  reflect();
}

function setView(value) {
  byId("view").value = value;
  const onePlane = Number(value) !== nv.sliceTypeMultiplanar;
  nv.setSliceType(Number(value));
  nv.setCrosshairWidth(crosshairWidth(onePlane));
}

const whenOpen = (action) => () => state.name && action();
const toggle = (box, action) => () => ((box.checked = !box.checked), action());
const seeModality = (modality) => whenOpen(() => run(`Loading ${modality} …`, () => showModality(modality)));
const hide = () => ((state.hidden = !state.hidden), showLabels(nv, looks()));
const toSegment = whenOpen(async () => {
  if (await mayLeave()) run(`Segmenting ${state.name} …`, segment);
});
const saveDraft = whenOpen(() => run(`Saving ${state.name} …`, () => save()));
const scroll = (axis, by) => whenOpen(() => nv.moveCrosshairInVox(...[0, 1, 2].map((at) => (at === axis ? by : 0))));
const visibility = (value) => all("[data-visible]").find((box) => box.dataset.visible === value);
const redraw = () => showLabels(nv, looks());

const KEYS = [
  ["N", "next case", next],
  ["S", "segment", toSegment],
  ["A", "approve", () => decide("reviewed")],
  ["Shift A", "approve with a comment", approveWithComment],
  ["R", "reject, with a reason", () => decide("rejected")],
  ["Ctrl S", "save as draft", saveDraft],
  ["Ctrl Z", "undo", () => step("undo")],
  ["Ctrl Y", "redo", () => step("redo")],
  ...MODALITIES.map((name, at) => [String(at + 1), name, seeModality(name)]),
  ["V", "three planes, axial, coronal, sagittal", () => setView(["3", "0", "1", "2"][(["3", "0", "1", "2"].indexOf(byId("view").value) + 1) % 4])],
  ["ArrowUp", "next slice (axial)", scroll(2, 1)],
  ["ArrowDown", "slice before (axial)", scroll(2, -1)],
  ["ArrowRight", "next slice (sagittal)", scroll(0, 1)],
  ["ArrowLeft", "slice before (sagittal)", scroll(0, -1)],
  ["PageUp", "next slice (coronal)", scroll(1, 1)],
  ["PageDown", "slice before (coronal)", scroll(1, -1)],
  ["U", "slice to look at first", () => state.details?.segmentation && moveTo(state.details.segmentation.look_at)],
  ["L", "look", () => setTool("look")],
  ["Escape", "", () => setTool("look")],
  ["E", "draw enhancing tumour", whenOpen(() => setTool("4"))],
  ["K", "draw core", whenOpen(() => setTool("1"))],
  ["O", "draw oedema", whenOpen(() => setTool("2"))],
  ["X", "erase (also: hold Ctrl)", whenOpen(() => setTool("0"))],
  ["M", "measure in mm", whenOpen(() => setTool("measure"))],
  ["[", "smaller brush", () => stepBrush(-1)],
  ["]", "larger brush", () => stepBrush(1)],
  ["H", "hide and show labels", hide],
  ["I", "outline only", toggle(byId("outline"), redraw)],
  ...["4", "1", "2"].map((value, at) => [`Shift ${"EKO"[at]}`, `show ${TISSUES[value].name}`, toggle(visibility(value), redraw)]),
  ["B", "mine, the other version, differences", whenOpen(nextView)],
  ["W", "next window", whenOpen(nextWindow)],
  ["?", "these keys", () => byId("keys").showModal()],
];

function nextWindow() {
  const select = byId("window");
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  showWindow(select.value);
}

function listen() {
  const on = (id, event, listener) => byId(id).addEventListener(event, listener);
  on("help", "click", () => byId("keys").showModal());
  on("person", "click", async () => state.user || ((await rename()), reflect()));
  on("next", "click", next);
  on("segment", "click", toSegment);
  on("save", "click", saveDraft);
  on("approve", "click", () => decide("reviewed"));
  on("reject", "click", () => decide("rejected"));
  on("uncertain", "click", () => moveTo(state.details.segmentation.look_at));
  on("undo", "click", () => step("undo"));
  on("redo", "click", () => step("redo"));
  on("brush", "change", ({ target }) => setBrush(target.value));
  on("fill", "change", () => setTool(state.tool));
  on("outline", "change", redraw);
  on("view", "change", ({ target }) => setView(target.value));
  on("window", "change", ({ target }) => state.name && showWindow(target.value));
  on("train", "click", () => run("Starting the training …", train));
  on("stop", "click", () => run("Stopping the training …", async () => (await call("train/", {}, { method: "DELETE" }), watch())));
  for (const button of all("[data-modality]")) button.addEventListener("click", seeModality(button.dataset.modality));
  for (const button of all("[data-tool]")) button.addEventListener("click", () => setTool(button.dataset.tool));
  for (const range of all("[data-overlay]")) range.addEventListener("input", () => setOverlay(range.dataset.overlay));
  for (const box of all("[data-visible]")) box.addEventListener("change", redraw);
  window.addEventListener("beforeunload", (event) => edited() && event.preventDefault());
  document.addEventListener("visibilitychange", () => document.hidden || watch());
  listenToKeys(KEYS, () => !waiting);
  guardCanvas();
}

async function train() {
  const body = JSON.stringify({ max_epochs: Number(byId("epochs").value) });
  await json("train/segmentation", {}, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  watch();
}

run("Asking for the cases …", async () => {
  for (const swatch of all("[data-colour]")) swatch.style.background = swatch.dataset.colour;
  listen();
  await nv.attachToCanvas(byId("canvas"));
  await refresh().finally(() => (document.documentElement.dataset.review = "ready"));
  watch();
});
