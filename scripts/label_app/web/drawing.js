// Tools, brush, and what a stroke does to the drawing.
import { fillBetween } from "./between.js";
import { installBrush } from "./brush.js";
import { leaveDifference } from "./comparison.js";
import { changed, drawn, nv, say, state } from "./session.js";
import { byId } from "./slice_viewer.js";
import { useTool } from "./viewer.js";

const SIZES = [...byId("brush").options].map(({ value }) => value);
const brush = { mm: Number(byId("brush").value), form: byId("form").value, plane: 0 };
installBrush(nv, brush);

export const isPen = () => /^\d$/.test(state.tool);

// Makes a tool active: "look", "measure", or the value of a label, "0" to erase.
export function setTool(tool) {
  if (tool !== "look") leaveDifference();
  state.tool = tool;
  nv.opts.isFilledPen = brush.form === "area";
  useTool(nv, tool);
  changed();
  byId("canvas").focus({ preventScroll: true }); // else the first stroke would only give it the focus
}

export function setBrush(millimetres) {
  byId("brush").value = millimetres;
  brush.mm = Number(millimetres);
}

export const stepBrush = (by) => setBrush(SIZES[Math.min(Math.max(SIZES.indexOf(byId("brush").value) + by, 0), SIZES.length - 1)]);

export function setForm(form) {
  byId("form").value = brush.form = form;
  setTool(state.tool);
}

export function nextForm() {
  const { options, selectedIndex } = byId("form");
  setForm(options[(selectedIndex + 1) % options.length].value);
}

export function step(direction) {
  if (!state.strokes) return;
  leaveDifference();
  state.strokes[direction](nv.drawBitmap);
  drawn();
}

export function fillBetweenSlices() {
  const value = Number(state.tool);
  if (!isPen() || !value) return say("Choose the label first, and draw it on two slices or more with some between them.");
  const touched = state.strokes.drawnBy(value);
  const filled = fillBetween(nv, value, { plane: brush.plane, touched });
  takeStroke(false);
  say(filled ? `${filled} slices filled.` : "No slices to fill: draw the label on two slices with some without it between them.");
}

// Takes over what was drawn; what lies in air, or outside the window where the brush asks for that, is taken back.
function takeStroke(anywhere) {
  if (!state.strokes || state.view === "difference") return;
  const scans = Object.values(state.scans).map(({ img }) => img);
  const { img, cal_min, cal_max } = state.images.scan;
  const inWindow = brush.form !== "window" ? () => true : (index) => img[index] >= cal_min && img[index] <= cal_max;
  const inAir = (index) => scans.every((voxels) => voxels[index] === 0);
  const refuse = (index, old, now) => now !== 0 && !anywhere && (inAir(index) || !inWindow(index));
  const { changed: count, refused } = state.strokes.take(nv.drawBitmap, refuse);
  if (count || refused) {
    say("");
    drawn();
  } else changed();
  if (refused) say(`${refused} voxels outside the brain${brush.form === "window" ? " or the window" : ""} were not drawn. Hold Alt to draw there.`);
  nv.createOnLocationChange(); // of the crosshair, not of the pen
}

// The first click after another window was in front, or another control had the focus, only gives the focus.
export function guardCanvas() {
  const canvas = byId("canvas");
  let away = false, anywhere = false, pressed = false;
  window.addEventListener("blur", () => (away = true));
  canvas.addEventListener(
    "mousedown",
    (event) => {
      if (isPen() && (away || document.activeElement !== canvas)) {
        event.stopImmediatePropagation();
        event.preventDefault();
        canvas.focus();
      } else {
        pressed = true;
        anywhere = event.altKey;
        if (isPen()) nv.setPenValue(event.ctrlKey ? 0 : Number(state.tool), nv.opts.isFilledPen);
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
