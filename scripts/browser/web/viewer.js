// Shows scans, labels and confidence in NiiVue.
import { NOT_FOR_DIAGNOSIS, TISSUES } from "./settings.js";
import { all, byId, createViewer, labelColours, LAYOUT, opacityOf, press, replaceVolumes, taskQueue, updateSliders } from "./slice_viewer.js";
import { multiply } from "./steps/matrix.js";
import { writeNifti } from "./steps/nifti_header.js";

const { labels: NAMES, ...COLOURS } = labelColours(TISSUES); // with names NiiVue would draw a legend
const nv = createViewer({ crosshairWidth: 1, crosshairWidthUnit: "mm", loadingText: "" });
// viridis; of NiiVue's own, which hides what is most in doubt, the other end is hidden: nothing is drawn at 100 %
const DOUBT = { R: [68, 49, 53, 253, 253], G: [1, 104, 183, 231, 231], B: [84, 142, 121, 37, 37], A: [255, 255, 255, 255, 0], I: [0, 64, 192, 254, 255] };
nv.addColormap("doubt", DOUBT);
const shown = { result: null, modality: "FLAIR", region: "TC", images: {} };
const queue = taskQueue((error) => {
  byId("problem").textContent = `The viewer cannot show this: ${error.message}; the results can still be saved, WebGL 2 is needed to see them`;
  byId("problem").hidden = false;
});

// Where it is first needed: a canvas that is not shown has no size.
async function open() {
  for (const swatch of all("[data-colour]")) swatch.style.background = swatch.dataset.colour;
  await nv.attachToCanvas(byId("canvas"));
  listen();
}

// Shows a segmentation, at the place where most of the tumour is.
export const showResult = (result) =>
  queue(async () => {
    if (!shown.result) await open();
    Object.assign(shown, { result, images: {} });
    const { grid, labels, confidence } = result;
    shown.images.scan = await imageOf(scanOf(shown.modality), grid, "scan");
    shown.images.label = await imageOf(labels, grid, "label");
    shown.images.label.setColormapLabel(COLOURS);
    shown.images.confidence = await imageOf(confidence[shown.region], grid, "confidence");
    Object.assign(shown.images.confidence, { colormap: "doubt", cal_min: 0, cal_max: 100 });
    for (const name of ["label", "confidence"]) shown.images[name].opacity = opacityOf(name);
    replaceVolumes(nv, [shown.images.scan, shown.images.confidence, shown.images.label]);
    nv.scene.crosshairPos = nv.mm2frac(middleOf(labels, grid), 0, true);
    draw();
    reflect();
  });

const scanOf = (modality) => shown.result.scans.find((scan) => scan.modality === modality).voxels;

// NiiVue reads a file; its header is this page's own, so that all layers have one geometry.
function imageOf(voxels, grid, name) {
  const bytes = writeNifti(voxels, grid, { mark: NOT_FOR_DIAGNOSIS });
  return niivue.NVImage.loadFromFile({ file: new File([bytes], `${name}.nii`), name: `${name}.nii` });
}

// The slices with the most tumour, in mm; the middle of the volume where there is none.
function middleOf(labels, { shape, affine }) {
  const counts = shape.map((size) => new Array(size).fill(0));
  labels.forEach((value, index) => {
    if (!value) return;
    counts[0][index % shape[0]]++;
    counts[1][Math.floor(index / shape[0]) % shape[1]]++;
    counts[2][Math.floor(index / (shape[0] * shape[1]))]++;
  });
  const most = counts.map((line) => line.indexOf(Math.max(...line)));
  const point = labels.some(Boolean) ? most : shape.map((size) => Math.floor(size / 2));
  return multiply(affine, [...point, 1].map((value) => [value])).slice(0, 3).map(([value]) => value);
}

async function showModality(modality) {
  shown.modality = modality;
  const image = await imageOf(scanOf(modality), shown.result.grid, "scan");
  const { img, cal_min, cal_max, robust_min, robust_max, global_min, global_max } = image;
  Object.assign(shown.images.scan, { img, cal_min, cal_max, robust_min, robust_max, global_min, global_max });
  refresh();
}

async function showRegion(region) {
  shown.region = region;
  shown.images.confidence.img = (await imageOf(shown.result.confidence[region], shown.result.grid, "confidence")).img;
  refresh();
}

function refresh() {
  nv.updateGLVolume();
  nv.createOnLocationChange();
  reflect();
}

function draw() {
  nv.drawScene();
  nv.createOnLocationChange();
}

function reflect() {
  press("modality", shown.modality);
  updateSliders((overlay) => overlay in shown.images);
}

nv.onLocationChange = () => {
  const image = shown.images.scan;
  if (!image) return;
  const size = image.dimsRAS.slice(1, 4); // along right, anterior, superior
  const voxel = size.map((count, axis) => Math.min(Math.floor(nv.scene.crosshairPos[axis] * count), count - 1));
  for (const slider of all("[data-axis]")) {
    const axis = Number(slider.dataset.axis);
    slider.max = size[axis] - 1;
    slider.value = voxel[axis];
    slider.nextElementSibling.value = `${voxel[axis] + 1} / ${size[axis]}`;
  }
  const value = (name) => shown.images[name].getValue(...voxel);
  const words = [`${shown.modality} ${Number(value("scan").toPrecision(4))}`, NAMES[COLOURS.I.indexOf(value("label"))], `confidence ${shown.region} ${value("confidence")} %`];
  byId("readout").textContent = words.join("   ·   ");
};

const KEYS = { ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 0, 1], ArrowDown: [0, 0, -1], PageUp: [0, 1, 0], PageDown: [0, -1, 0] };

function listen() {
  for (const button of all("[data-modality]")) button.addEventListener("click", () => queue(() => showModality(button.dataset.modality)));
  for (const slider of all("[data-overlay]")) {
    slider.addEventListener("input", () => {
      nv.setOpacity(nv.volumes.indexOf(shown.images[slider.dataset.overlay]), opacityOf(slider.dataset.overlay));
      reflect();
    });
  }
  for (const slider of all("[data-axis]")) {
    slider.addEventListener("input", () => {
      const axis = Number(slider.dataset.axis);
      nv.scene.crosshairPos[axis] = (Number(slider.value) + 0.5) / shown.images.scan.dimsRAS[axis + 1];
      draw();
    });
  }
  byId("region").addEventListener("change", ({ target }) => queue(() => showRegion(target.value)));
  byId("view").addEventListener("change", ({ target }) => nv.setSliceType(Number(target.value)));
  byId("canvas").addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || !shown.images.scan) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // NiiVue has keys of its own
    nv.moveCrosshairInVox(...KEYS[event.key]);
  }, { capture: true });
  const narrow = window.matchMedia("(max-width: 700px)");
  const layOut = () => nv.setMultiplanarLayout(narrow.matches ? LAYOUT.column : LAYOUT.row);
  narrow.addEventListener("change", layOut);
  layOut();
}

// The picture as it is drawn now.
export function drawn() {
  nv.drawScene();
  return nv.canvas;
}

export const shownModality = () => shown.modality;
