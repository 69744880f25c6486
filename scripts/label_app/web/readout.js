// What the page says of what is shown: title, buttons, volumes, and the place under the crosshair.
import { edited, nv, state, tell, TISSUES } from "./session.js";
import { all, byId, press, updateSliders } from "./slice_viewer.js";

document.addEventListener("changed", () => {
  const isOpen = Boolean(state.name);
  byId("person").textContent = state.user ?? localStorage.getItem("reviewer") ?? "Who are you?";
  byId("case").textContent = byId("case").title = state.name || "No case is open";
  byId("origin").textContent = byId("origin").title = [...ofDrawing(), ...ofView()].join(" · ");
  for (const line of byId("cases").rows) line.ariaCurrent = String(line.dataset.case === state.name);
  for (const button of all(".viewer button, #uncertain")) button.disabled = !isOpen;
  press("modality", state.modality);
  press("tool", state.tool);
  byId("undo").disabled = !state.strokes?.done.length;
  byId("redo").disabled = !state.strokes?.undone.length;
  byId("uncertain").disabled = !state.details?.segmentation?.look_at;
  updateSliders((name) => (name === "label" ? isOpen : Boolean(state.images.uncertainty)));
});

// What matters most comes first: at the end it may be cut.
function ofDrawing() {
  const from = state.origin.replace(/^(saved as draft|approved|rejected), /, "");
  return edited() ? ["changed, not saved", from] : [state.origin];
}

function ofView() {
  if (state.view === "beside") return [`${state.other.name} beside it`];
  return state.view === "difference" ? [`differences to ${state.other.name}`] : [];
}

document.addEventListener("drawn", () => {
  const mine = volumesOf(state.strokes.shown);
  const other = state.view === "mine" ? null : volumesOf(state.other.voxels);
  byId("volumes").tHead.rows[0].cells[2].textContent = other ? state.other.name : "";
  for (const line of all("#volumes [data-values]")) {
    line.cells[1].textContent = mine(line.dataset.values);
    line.cells[2].textContent = other ? other(line.dataset.values) : "";
  }
});

// Returns a function that tells the millilitres of labels, whose values are given as text.
function volumesOf(voxels) {
  const counts = new Array(256).fill(0);
  for (const value of voxels) counts[value]++;
  const [, x, y, z] = state.images.scan.hdr.pixDims;
  return (values) => ((values.split(",").reduce((sum, value) => sum + counts[value], 0) * x * y * z) / 1000).toFixed(1);
}

nv.onLocationChange = ({ values }) => {
  if (!state.strokes) return;
  const [width, height, depth] = state.details.grid.shape;
  const [x, y, z] = nv.frac2vox(nv.scene.crosshairPos);
  const label = TISSUES[nv.drawBitmap[x + width * (y + height * z)]]?.name ?? "none";
  const words = [`axial ${z + 1} / ${depth}`, `coronal ${y + 1} / ${height}`, `sagittal ${x + 1} / ${width}`];
  const { cal_min, cal_max } = state.images.scan;
  words.push(`${state.modality} ${Math.round(values[0].value)} (window ${Math.round(cal_min)} to ${Math.round(cal_max)})`, `label: ${label}`);
  if (values[1]) words.push(`uncertainty ${values[1].value} %`);
  byId("readout").textContent = words.join(" · ");
  tell("located");
};
