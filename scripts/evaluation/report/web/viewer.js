// Shows the embedded cases in NiiVue: which case, modality, slices and overlays is up to the controls of the page.
(() => {
  "use strict";
  const { cases, colours } = JSON.parse(document.getElementById("viewer-data").textContent);
  const channel = (at) => [0, ...Object.values(colours).map((colour) => parseInt(colour.slice(at, at + 2), 16))];
  const LABELS = { I: [0, ...Object.keys(colours).map(Number)], R: channel(1), G: channel(3), B: channel(5) };
  const NAMES = { 0: "none", 1: "core", 2: "oedema", 4: "enhancing" };
  const MULTIPLANAR = { column: 1, row: 3 };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  const nv = new niivue.Niivue({
    isRadiologicalConvention: true,
    showAllOrientationMarkers: true,
    multiplanarShowRender: 0,
    multiplanarLayout: MULTIPLANAR.row,
    multiplanarPadPixels: 6,
    backColor: [0, 0, 0, 1],
    fontColor: [0.8, 0.84, 0.88, 1],
    crosshairColor: [0.35, 0.65, 1, 0.8],
    crosshairWidth: 0.4,
    crosshairWidthUnit: "voxels",
    crosshairGap: 6,
    scrollRequiresFocus: true,
    dragAndDropEnabled: false,
    viewModeHotKey: "",
    clipPlaneHotKey: "",
    cycleClipPlaneHotKey: "",
    loadingText: "loading",
    logLevel: "error",
  });
  const shown = { number: 0, modality: "FLAIR", region: "TC", images: {}, scans: {} };

  function load(name, options) {
    const id = cases[shown.number].volumes[name];
    const base64 = byId(id).textContent;
    return niivue.NVImage.loadFromBase64({ base64, name: `${id}.nii.gz`, ...options });
  }

  // what is left of a label map when every voxel goes whose neighbours in the three planes have its label
  function outlined(labels, [width, height]) {
    const steps = [1, -1, width, -width, width * height, -width * height];
    return labels.map((label, index) => (steps.every((step) => labels[index + step] === label) ? 0 : label));
  }

  // NiiVue would blend all layers anew at each volume that goes or comes; once, at the end, is enough
  function replaceVolumes(images) {
    nv.updateGLVolume = () => {};
    while (nv.volumes.length) nv.removeVolume(nv.volumes.at(-1));
    images.forEach((image) => nv.addVolume(image));
    delete nv.updateGLVolume;
    nv.updateGLVolume();
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
      shown.images[name].setColormapLabel(LABELS);
    }
    if (volumes.truth) {
      const filled = shown.images.truth.img;
      Object.assign(shown, { filled, outline: outlined(filled, shape) });
      shown.images.truth.img = byId("viewer-outline").checked ? shown.outline : filled;
    }
    for (const name of Object.keys(shown.images)) {
      shown.images[name].opacity = name === "scan" ? 1 : opacityOf(name);
    }
    replaceVolumes(Object.values(shown.images));
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

  const overlay = (name) => document.querySelector(`[data-overlay=${name}]`);
  const opacityOf = (name) => Number(overlay(name).value) / 100;

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

  // Brings the controls and texts in line with what is shown.
  function reflect() {
    const current = cases[shown.number];
    for (const button of all("[data-case]")) button.ariaPressed = String(Number(button.dataset.case) === shown.number);
    for (const button of all("[data-modality]")) button.ariaPressed = String(button.dataset.modality === shown.modality);
    for (const slider of all("[data-overlay]")) {
      const there = slider.dataset.overlay in shown.images;
      slider.disabled = !there;
      slider.nextElementSibling.value = there ? `${slider.value} %` : "none";
    }
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
    if (shown.images.truth) words.push(`truth: ${NAMES[shown.filled[at]]}`);
    if (shown.images.prediction) words.push(`prediction: ${NAMES[shown.images.prediction.img[at]]}`);
    if (shown.images.confidence) words.push(`confidence ${shown.region}: ${shown.images.confidence.img[at]} %`);
    byId("viewer-readout").textContent = words.join("   ·   ");
  };

  // one after the other, so that a quick hand does not mix two cases
  let last = Promise.resolve();
  const queue = (task) => {
    last = last.then(task).catch((error) => {
      byId("viewer-problem").textContent = `The viewer cannot show this: ${error.message}`;
      byId("viewer-problem").hidden = false;
      console.error(error);
    });
    return last;
  };

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
    const lay = () => nv.setMultiplanarLayout(narrow.matches ? MULTIPLANAR.column : MULTIPLANAR.row);
    narrow.addEventListener("change", lay);
    lay();
  }

  queue(async () => {
    await nv.attachToCanvas(byId("viewer-canvas"));
    listen();
    await showCase(0);
    document.documentElement.dataset.viewer = "ready";
  });
})();
