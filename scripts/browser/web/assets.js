// Loads what the worker computes with: the runtime, which is stored compressed, and the two networks.

const ASSETS = { runtime: "onnxruntime.wasm.gz", segmenter: "segmenter.onnx", critic: "critic.onnx" };
// asked for as well, so that they are at hand without a network
const PHANTOM = ["t1", "t1ce", "t2", "flair"].map((name) => `phantom/phantom_${name}.nii.gz`);
const LATER = [...PHANTOM, "dicom_worker.js", "dcm2niix.mjs", "dcm2niix.wasm.gz"];

// Returns the bytes of each; `onShare` hears how much has been loaded.
export async function loadAssets(onShare) {
  const { files } = await (await fetch("files.json")).json();
  const total = Object.values(ASSETS).reduce((sum, name) => sum + files[name], 0);
  let loaded = 0;
  const count = (bytes) => onShare(Math.min((loaded += bytes) / total, 1));
  const found = await Promise.all(Object.values(ASSETS).map((name) => loadFile(name, count)));
  await Promise.all(LATER.map((name) => fetch(name).then((response) => response.arrayBuffer())));
  return Object.fromEntries(Object.keys(ASSETS).map((key, index) => [key, found[index]]));
}

// Returns the bytes of a file, unpacked; `onBytes` hears how many more have been loaded.
export async function loadFile(name, onBytes = () => {}) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: the server answers ${response.status}; copy the page's whole folder to it`);
  const count = new TransformStream({
    transform(chunk, controller) {
      onBytes(chunk.length);
      controller.enqueue(chunk);
    },
  });
  return unpack(await new Response(response.body.pipeThrough(count)).arrayBuffer());
}

// Some servers unpack .gz files on the way.
async function unpack(buffer) {
  const [first, second] = new Uint8Array(buffer);
  if (first !== 0x1f || second !== 0x8b) return buffer;
  return new Response(new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
