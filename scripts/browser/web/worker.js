// The worker in which a case is segmented, so that the page stays responsive.
import { openNetworks } from "./steps/networks.js";
import { segmentCase } from "./steps/segment.js";
import { explained } from "./steps/words.js";

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
    self.postMessage({ problem: explained(error) });
  }
});
