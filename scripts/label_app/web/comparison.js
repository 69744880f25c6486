// Another label of the open case beside mine, and where the two differ.
import { looks } from "./layers.js";
import { loadLabel } from "./server.js";
import { drawn, nv, say, state, TISSUES } from "./session.js";
import { byId, replaceVolumes } from "./slice_viewer.js";
import { createReviewer, DIFFERENT, intensities, setView, showLabels, useTool } from "./viewer.js";

let second; // NiiVue, made when it is first needed: it holds a copy of the scan in the memory of the graphics card
let follows = true; // the second viewer moves with the first, and leads it where it is clicked or scrolled

export async function compare(tag) {
  state.other = { tag, name: tag === "original" ? "machine" : tag, voxels: (await loadLabel(state.name, tag, state.details.grid)).slice() };
  second ??= await createSecond();
  showView("beside");
}

// Shows mine with the other one beside it, where they differ, and mine alone, in turn.
export function nextView() {
  if (!state.other) return say("Choose a version to compare with first: Compare, in the list of versions.");
  showView({ mine: "beside", beside: "difference", difference: "mine" }[state.view]);
}

export function leaveComparison() {
  if (state.view !== "mine") showView("mine");
}

// Of differences nothing can be drawn.
export function leaveDifference() {
  if (state.view === "difference") showView("mine");
}

function showView(view) {
  const { shown } = state.strokes;
  state.view = view;
  if (view === "difference") useTool(nv, (state.tool = "look"));
  nv.drawBitmap.set(view === "difference" ? shown.map((value, index) => (value === state.other.voxels[index] ? 0 : DIFFERENT)) : shown);
  showSecond(view === "beside");
  drawn();
  if (view === "difference") say(`${nv.drawBitmap.reduce((sum, value) => sum + (value > 0), 0)} voxels differ from ${state.other.name}.`);
}

async function createSecond() {
  const viewer = createReviewer(TISSUES);
  byId("other").hidden = false;
  await viewer.attachToCanvas(byId("other").querySelector("canvas"));
  viewer.onLocationChange = () => {
    if (follows || state.view !== "beside") return;
    viewer.doSync2d(nv);
    nv.drawScene();
    nv.createOnLocationChange();
  };
  return viewer;
}

function showSecond(visible) {
  byId("other").hidden = !visible;
  byId("other").querySelector("figcaption").textContent = state.other ? `${state.other.name} (B goes on)` : "";
  nv.resizeListener();
  if (!second) return;
  if (!visible) {
    second.closeDrawing();
    return replaceVolumes(second, []);
  }
  follows = true;
  const { scan } = state.images;
  const twin = Object.assign(Object.create(Object.getPrototypeOf(scan)), scan, { id: `${scan.id} beside` });
  second.resizeListener();
  showLabels(second, looks(), { redraw: false });
  replaceVolumes(second, [twin]);
  second.createEmptyDrawing();
  second.drawBitmap.set(state.other.voxels);
  setView(second, nv.opts.sliceType);
  second.refreshDrawing(true);
  follow();
  follows = false;
}

function follow() {
  if (state.view !== "beside") return;
  if (second.opts.sliceType !== nv.opts.sliceType) setView(second, nv.opts.sliceType);
  nv.doSync2d(second);
  second.drawScene();
}

document.addEventListener("located", follow);
document.addEventListener("looked", () => state.view === "beside" && showLabels(second, looks()));
document.addEventListener("opened", () => showSecond(false));
document.addEventListener("scanned", () => {
  if (state.view !== "beside") return;
  Object.assign(second.volumes[0], intensities(state.images.scan));
  second.updateGLVolume();
});
