// Shows the cases of the report in NiiVue. Runs in one module with slice_viewer.js, whose functions it calls.
const { cases, tissues } = JSON.parse(byId("viewer-data").textContent);
const { labels: names, ...COLOURS } = labelColours(tissues); // with names NiiVue would draw a legend
const nameOf = (label) => names[COLOURS.I.indexOf(label)];
const nv = createViewer({ crosshairWidth: 0.4, crosshairWidthUnit: "voxels", loadingText: "loading" });
const shown = { number: 0, modality: "FLAIR", region: "TC", images: {}, scans: {} };

function load(name, options) {
  const id = cases[shown.number].volumes[name];
  const base64 = byId(id).textContent;
  return niivue.NVImage.loadFromBase64({ base64, name: `${id}.nii.gz`, ...options });
}

// A label map without the voxels whose neighbours in all three planes have the same label.
function outlined(labels, [width, height]) {
  const steps = [1, -1, width, -width, width * height, -width * height];
  return labels.map((label, index) => (steps.every((step) => labels[index + step] === label) ? 0 : label));
}

async function showCase(number) {
  Object.assign(shown, { number, images: {}, scans: {} });
  const { volumes, focus, shape } = cases[number];
  const range = { cal_min: 0, cal_max: 255, trustCalMinMax: false };
  shown.images.scan = await load(shown.modality, range);
  shown.scans[shown.modality] = shown.images.scan.img;
  if (volumes["confidence-TC"]) {
    shown.images.confidence = await load(`confidence-${shown.region}`, { colormap: "viridis", cal_min: 0, cal_max: 100 });
  }
  for (const name of ["prediction", "truth"]) {
    if (!volumes[name]) continue;
    shown.images[name] = await load(name);
    shown.images[name].setColormapLabel(COLOURS);
  }
  if (volumes.truth) {
    const filled = shown.images.truth.img;
    Object.assign(shown, { filled, outline: outlined(filled, shape) });
    shown.images.truth.img = byId("viewer-outline").checked ? shown.outline : filled;
  }
  for (const name of Object.keys(shown.images)) {
    shown.images[name].opacity = name === "scan" ? 1 : opacityOf(name);
  }
  replaceVolumes(nv, Object.values(shown.images));
  focus.forEach((index, axis) => moveTo(axis, index));
  draw();
  reflect();
}

async function showModality(modality) {
  shown.modality = modality;
  shown.scans[modality] ??= (await load(modality)).img;
  shown.images.scan.img = shown.scans[modality];
  nv.updateGLVolume();
  nv.createOnLocationChange();
  reflect();
}

async function showRegion(region) {
  shown.region = region;
  shown.images.confidence.img = (await load(`confidence-${region}`)).img;
  nv.updateGLVolume();
  nv.createOnLocationChange();
  reflect();
}

function setOpacity(name) {
  nv.setOpacity(nv.volumes.indexOf(shown.images[name]), opacityOf(name));
  reflect();
}

function moveTo(axis, index) {
  nv.scene.crosshairPos[axis] = (index + 0.5) / cases[shown.number].shape[axis];
}

function draw() {
  nv.drawScene();
  nv.createOnLocationChange();
}

const format = (value) => (value === null ? "n/a" : value.toFixed(3));

// Updates controls and texts to what is shown.
function reflect() {
  const current = cases[shown.number];
  press("case", shown.number);
  press("modality", shown.modality);
  updateSliders((overlay) => overlay in shown.images);
  byId("viewer-region").disabled = !("confidence" in shown.images);
  byId("viewer-outline").disabled = !("truth" in shown.images);
  const dice = Object.entries(current.dice).map(([region, value]) => `${region} ${format(value)}`);
  byId("viewer-dice").textContent = `${current.case} · ${current.reason} · Dice ${dice.join("  ")}`;
}

nv.onLocationChange = () => {
  const { shape, start, size } = cases[shown.number];
  const index = shape.map((count, axis) => Math.min(Math.floor(nv.scene.crosshairPos[axis] * count), count - 1));
  for (const slider of all("[data-axis]")) {
    const axis = Number(slider.dataset.axis);
    Object.assign(slider, { max: shape[axis] - 1 });
    slider.value = index[axis];
    slider.nextElementSibling.value = `${start[axis] + index[axis] + 1} / ${size[axis]}`;
  }
  const at = index[0] + shape[0] * (index[1] + shape[1] * index[2]);
  const words = [`${shown.modality} ${shown.images.scan?.img[at]}`];
  if (shown.images.truth) words.push(`truth: ${nameOf(shown.filled[at])}`);
  if (shown.images.prediction) words.push(`prediction: ${nameOf(shown.images.prediction.img[at])}`);
  if (shown.images.confidence) words.push(`confidence ${shown.region}: ${shown.images.confidence.img[at]} %`);
  byId("viewer-readout").textContent = words.join("   ·   ");
};

const queue = taskQueue((error) => {
  byId("viewer-problem").textContent = `The viewer cannot show this: ${error.message}`;
  byId("viewer-problem").hidden = false;
  console.error(error);
});

function listen() {
  for (const button of all("[data-case]")) {
    button.addEventListener("click", () => queue(() => showCase(Number(button.dataset.case))));
  }
  for (const link of all("[data-viewer]")) {
    link.addEventListener("click", () => queue(() => showCase(Number(link.dataset.viewer))));
  }
  for (const button of all("[data-modality]")) {
    button.addEventListener("click", () => queue(() => showModality(button.dataset.modality)));
  }
  for (const slider of all("[data-overlay]")) {
    slider.addEventListener("input", () => queue(() => setOpacity(slider.dataset.overlay)));
  }
  for (const slider of all("[data-axis]")) {
    slider.addEventListener("input", () => {
      moveTo(Number(slider.dataset.axis), Number(slider.value));
      draw();
    });
  }
  byId("viewer-region").addEventListener("change", (event) => queue(() => showRegion(event.target.value)));
  byId("viewer-outline").addEventListener("change", (event) =>
    queue(() => {
      shown.images.truth.img = event.target.checked ? shown.outline : shown.filled;
      nv.updateGLVolume();
    }),
  );
  const narrow = window.matchMedia("(max-width: 700px)");
  const layOut = () => nv.setMultiplanarLayout(narrow.matches ? LAYOUT.column : LAYOUT.row);
  narrow.addEventListener("change", layOut);
  layOut();
}

queue(async () => {
  await nv.attachToCanvas(byId("viewer-canvas"));
  listen();
  await showCase(0);
  document.documentElement.dataset.viewer = "ready";
});
