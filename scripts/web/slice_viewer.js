// What the report's viewer and the review page share: settings of NiiVue, label colours, order of tasks, controls.

export const byId = (id) => document.getElementById(id);
export const all = (selector) => [...document.querySelectorAll(selector)];

// NiiVue's values of multiplanarLayout
export const LAYOUT = { column: 1, row: 3 };

// A NiiVue viewer of slices in radiological convention; `options` are added to the common ones.
export function createViewer(options) {
  return new niivue.Niivue({
    isRadiologicalConvention: true,
    showAllOrientationMarkers: true,
    multiplanarShowRender: 0,
    multiplanarLayout: LAYOUT.row,
    multiplanarPadPixels: 6,
    backColor: [0, 0, 0, 1],
    fontColor: [0.8, 0.84, 0.88, 1],
    crosshairColor: [0.5, 0.85, 0.5, 0.8],
    crosshairGap: 6,
    scrollRequiresFocus: true,
    dragAndDropEnabled: false,
    viewModeHotKey: "",
    clipPlaneHotKey: "",
    cycleClipPlaneHotKey: "",
    logLevel: "error",
    ...options,
  });
}

// NiiVue's colour map of label maps. `tissues` maps each value but 0 to { name, colour }, colours such as #2b8cff.
export function labelColours(tissues) {
  const values = Object.values(tissues);
  const channel = (at) => [0, ...values.map(({ colour }) => parseInt(colour.slice(at, at + 2), 16))];
  return {
    I: [0, ...Object.keys(tissues).map(Number)],
    R: channel(1),
    G: channel(3),
    B: channel(5),
    labels: ["none", ...values.map(({ name }) => name)],
  };
}

// Shows other volumes. NiiVue blends all layers for each volume that is added or removed; once, at the end, is enough.
export function replaceVolumes(viewer, images) {
  viewer.updateGLVolume = () => {};
  while (viewer.volumes.length) viewer.removeVolume(viewer.volumes.at(-1));
  images.forEach((image) => viewer.addVolume(image));
  delete viewer.updateGLVolume;
  viewer.updateGLVolume();
}

// Returns a function that runs tasks one after the other, so that quick clicks do not mix two cases.
export function taskQueue(onError) {
  let last = Promise.resolve();
  return (task) => (last = last.then(task).catch(onError));
}

// Marks one of a group of buttons, which have an attribute data-<group>, as pressed.
export function press(group, value) {
  for (const button of all(`[data-${group}]`)) button.ariaPressed = String(button.dataset[group] === String(value));
}

// The opacity, 0 to 1, that the slider of an overlay is set to.
export const opacityOf = (overlay) => Number(document.querySelector(`[data-overlay=${overlay}]`).value) / 100;

// Writes each overlay's opacity beside its slider; sliders of overlays that do not exist are disabled.
export function updateSliders(exists) {
  for (const slider of all("[data-overlay]")) {
    slider.disabled = !exists(slider.dataset.overlay);
    slider.nextElementSibling.value = slider.disabled ? "none" : `${slider.value} %`;
  }
}
