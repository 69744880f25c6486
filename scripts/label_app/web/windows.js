// The window of intensities: presets, each modality's own, and what was set by hand.
import { byId } from "./slice_viewer.js";
import { MODALITIES, nv, state, tell } from "./session.js";
import { intensities, WINDOWS } from "./viewer.js";

const HAND = "hand";
const chosen = Object.fromEntries(MODALITIES.map((modality) => [modality, byId("window").value]));

// Keeps a scan of the open case; what was set by hand holds for it alone, a preset for the modality.
export function keepScan(modality, scan, preset = chosen[modality]) {
  if (preset !== HAND) [scan.cal_min, scan.cal_max] = WINDOWS[preset](scan);
  state.scans[modality] = { ...intensities(scan), preset };
  if (modality === state.modality) byId("window").value = preset;
}

// Puts a modality into the volume that is shown, for the drawing lies on that.
export function showScan(modality) {
  const { preset, ...scan } = state.scans[modality];
  state.modality = modality;
  byId("window").value = preset;
  Object.assign(state.images.scan, scan);
  redraw();
}

export function showWindow(preset) {
  chosen[state.modality] = preset;
  keepScan(state.modality, state.images.scan, preset);
  redraw();
}

export function nextWindow() {
  const presets = Object.keys(WINDOWS);
  showWindow(presets[(presets.indexOf(byId("window").value) + 1) % presets.length]);
}

nv.onIntensityChange = () => {
  if (!state.images.scan) return;
  keepScan(state.modality, state.images.scan, HAND);
  nv.createOnLocationChange();
  tell("scanned");
};

function redraw() {
  nv.updateGLVolume();
  nv.createOnLocationChange();
  tell("scanned");
}
