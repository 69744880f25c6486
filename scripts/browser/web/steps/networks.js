// The segmenter and the critic, run by ONNX Runtime Web.
import * as ort from "../onnxruntime.mjs";

const MOST_THREADS = 8;

// Opens the networks; `runtime`, `segmenter` and `critic` are the bytes of their files.
export async function openNetworks({ runtime, segmenter, critic }) {
  ort.env.wasm.wasmBinary = runtime;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  const open = (bytes) => ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ["wasm"] });
  const [segmenting, judging] = [await open(segmenter), await open(critic)];
  return {
    threads: ort.env.wasm.numThreads,
    // logits of the regions for an image, tensors as in tensors.js
    segment: async (image, shape) => run(segmenting, { image: tensorOf(image, shape) }, "logits"),
    // the probability that each voxel's prediction is right
    judge: async (probabilities, image, shape) =>
      run(judging, { probabilities: tensorOf(probabilities, shape), image: tensorOf(image, shape) }, "confidence"),
  };
}

function tensorOf(data, shape) {
  const channels = data.length / (shape[0] * shape[1] * shape[2]);
  return new ort.Tensor("float32", data, [1, channels, ...shape]);
}

async function run(session, inputs, output) {
  const outputs = await session.run(inputs);
  const data = outputs[output].data.slice();
  outputs[output].dispose();
  return data;
}
