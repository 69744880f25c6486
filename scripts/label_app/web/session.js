// What is open, the viewer that shows it, and one task after the other.
import { all, byId, taskQueue } from "./slice_viewer.js";
import { createReviewer } from "./viewer.js";

export const MODALITIES = all("[data-modality]").map((button) => button.dataset.modality);
export const TISSUES = Object.fromEntries(
  all("[data-visible]").map((box) => {
    const head = box.closest("tr").cells[0];
    return [Number(box.dataset.visible), { name: head.textContent, colour: head.firstElementChild.dataset.colour }];
  }),
);
export const nv = createReviewer(TISSUES);

const closed = { name: "", details: null, scans: {}, images: {}, strokes: null, origin: "", other: null, view: "mine", hidden: false };
export const state = { cases: [], user: null, modality: "FLAIR", tool: "look", ...closed };

// Takes another case for the open one.
export const become = (values) => Object.assign(state, closed, values);

export const edited = () => Boolean(state.strokes?.edited);

// ---- who follows what is shown listens to the document
export const tell = (what, detail) => document.dispatchEvent(new CustomEvent(what, { detail }));

// Says that controls and texts may have to change.
export const changed = () => tell("changed");

// Says that voxels of the drawing have changed.
export function drawn() {
  nv.refreshDrawing(true);
  tell("drawn");
  changed();
}

export function say(words) {
  byId("problem").textContent = words;
  byId("problem").hidden = !words;
}

// ---- one task after the other, so that a quick hand does not mix two cases
const queue = taskQueue((error) => (error.status === 401 ? tell("signed-out", error.message) : say(error.message)));
let waiting = 0;

export const isBusy = () => waiting > 0;

// Runs a task when those before it have ended; meanwhile the page says `words` and takes no other orders.
export function run(words, task) {
  return queue(async () => {
    const focused = document.activeElement;
    waiting++;
    say("");
    byId("busy").textContent = words;
    document.body.ariaBusy = byId("desk").inert = true;
    try {
      await task();
    } finally {
      waiting--;
      document.body.ariaBusy = byId("desk").inert = false;
      byId("busy").textContent = "";
      focused?.focus();
      changed();
    }
  });
}
