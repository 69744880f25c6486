// NiiVue as this page needs it: a pen that draws only where and when it is meant to, windows, layers.
import { createViewer, labelColours, opacityOf } from "./slice_viewer.js";

export const DIFFERENT = 7; // the value in which differences of two labels are shown
const CROSSHAIR = 1.2; // mm; where it is thinner than a pixel, lines of it are not drawn
const GRID = 2; // NiiVue's value of multiplanarLayout: two planes above, one below; the largest in most windows
const DRAG = { measure: 2, crosshair: 8 };

// `tissues` maps the values of labels to { name, colour }.
export function createReviewer(tissues) {
  const nv = createViewer({
    multiplanarLayout: GRID,
    crosshairWidth: CROSSHAIR,
    crosshairWidthUnit: "mm",
    scrollRequiresFocus: false,
    loadingText: "choose a case",
    measureTextColor: [1, 1, 0.4, 1],
    measureLineColor: [1, 1, 0.4, 1],
  });
  keepCrosshair(nv);
  nv.tissues = { ...tissues, [DIFFERENT]: { name: "different", colour: "#ff4fd8" } };
  return nv;
}

// While the pen draws, the other planes stay; turning the wheel never draws.
function keepCrosshair(nv) {
  const click = nv.mouseClick.bind(nv);
  nv.mouseClick = (x, y, change = 0, isDelta = true) => {
    const pen = nv.opts.drawingEnabled;
    const place = [...nv.scene.crosshairPos];
    if (change !== 0) nv.opts.drawingEnabled = false;
    const result = click(x, y, change, isDelta);
    nv.opts.drawingEnabled = pen;
    if (pen && change === 0) {
      nv.scene.crosshairPos = place;
      nv.drawScene();
    }
    return result;
  };
}

// Makes a tool active: "look", "measure", or the value of a label, "0" to erase.
export function useTool(nv, tool) {
  const pen = /^\d$/.test(tool);
  nv.setDrawingEnabled(pen);
  nv.opts.dragModePrimary = tool === "measure" ? DRAG.measure : DRAG.crosshair;
  if (pen) nv.setPenValue(Number(tool), nv.opts.isFilledPen);
}

// Shows labels as the sliders and boxes say; `visible` holds the values that are shown. To blend all layers again takes
// long, and is not needed where volumes are replaced anyway.
export function showLabels(nv, { visible, outline, hidden }, { redraw = true } = {}) {
  if (!redraw) nv.updateGLVolume = nv.drawScene = () => {};
  const { labels, ...colours } = labelColours(nv.tissues); // with names NiiVue would draw a legend
  colours.A = colours.I.map((value) => (visible.includes(value) || value === DIFFERENT ? 255 : 0));
  nv.setDrawColormap(colours);
  const opacity = hidden ? 0 : opacityOf("label");
  nv.drawRimOpacity = outline && !hidden ? 1 : -1;
  nv.setDrawOpacity(outline ? Math.min(opacity, 0.01) : opacity);
  if (!redraw) ["updateGLVolume", "drawScene"].forEach((name) => delete nv[name]);
}

// Presets of the window of intensities, from what NiiVue found in the scan.
export const WINDOWS = {
  usual: ({ robust_min: low, robust_max: high }) => [low, high],
  full: ({ global_min: low, global_max: high }) => [low, high],
  bright: ({ robust_min: low, robust_max: high }) => [low, low + 0.5 * (high - low)],
  dark: ({ robust_min: low, robust_max: high, global_max: top }) => [low + 0.3 * (high - low), Math.max(high, 0.9 * top)],
};

// What one modality has for itself; the grid is that of the case.
export function intensities({ img, hdr, cal_min, cal_max, robust_min, robust_max, global_min, global_max }) {
  return { img, hdr, cal_min, cal_max, robust_min, robust_max, global_min, global_max };
}

// Shows a volume with one colour, the stronger the higher its values; 0 stays clear.
export const HEAT = { R: [255, 255], G: [0, 235], B: [200, 255], A: [0, 255], I: [0, 255] };

// Shows three planes or one, by NiiVue's number of it.
export function setView(nv, sliceType) {
  nv.setSliceType(sliceType);
  nv.setCrosshairWidth(sliceType === nv.sliceTypeMultiplanar ? CROSSHAIR : CROSSHAIR / 2);
}
