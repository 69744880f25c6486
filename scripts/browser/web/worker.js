// The worker in which a case is segmented, so that the page stays responsive.
import { openNetworks } from "./steps/networks.js";
import { segmentCase } from "./steps/segment.js";
import { Refusal } from "./steps/words.js";

let networks;

// Messages: first { assets }, the bytes of runtime and networks, then { files }, one case after the other.
self.addEventListener("message", async ({ data: { assets, files } }) => {
  try {
    if (assets) {
      networks = openNetworks(assets);
      self.postMessage({ ready: true, threads: (await networks).threads });
    } else {
      const result = await segmentCase(files, await networks, (stage, share) => self.postMessage({ stage, share }));
      const arrays = [result.labels, ...Object.values(result.confidence), ...result.scans.map(({ voxels }) => voxels)];
      self.postMessage({ result }, arrays.map(({ buffer }) => buffer));
    }
  } catch (error) {
    self.postMessage({ problem: error instanceof Refusal ? error.message : explained(error) });
  }
});

function explained(error) {
  const words = String(error?.message ?? error).split("\n")[0];
  const isMemory = error instanceof RangeError || /memory|bad_alloc|allocat/i.test(words);
  return isMemory ? `the memory is full (${words}); close other tabs and programs, or use a machine with 2 GB free` : words;
}
