// Which labels and overlays are seen, and how.
import { changed, nv, state, tell } from "./session.js";
import { all, byId, opacityOf } from "./slice_viewer.js";
import { showLabels } from "./viewer.js";

// What the boxes and keys say, as `showLabels` takes it.
export const looks = () => ({
  visible: all("[data-visible]").filter((box) => box.checked).map((box) => Number(box.dataset.visible)),
  outline: byId("outline").checked,
  hidden: state.hidden,
});

export function look() {
  showLabels(nv, looks());
  tell("looked");
}

export function toggleHidden() {
  state.hidden = !state.hidden;
  look();
}

export function toggle(box) {
  box.checked = !box.checked;
  look();
}

export const boxOf = (value) => all("[data-visible]").find((box) => box.dataset.visible === value);

export function setOverlay(name) {
  if (name === "label") look();
  else if (state.images.uncertainty) nv.setOpacity(nv.volumes.indexOf(state.images.uncertainty), opacityOf(name));
  changed();
}
