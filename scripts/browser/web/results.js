// What the page says of a segmentation, and what it saves.
import { MARK, REGION_NAMES } from "./settings.js";
import { byId } from "./slice_viewer.js";
import { writeNifti } from "./steps/nifti_header.js";

export function showWarnings(warnings) {
  byId("warnings").replaceChildren(...warnings.map((words) => Object.assign(document.createElement("li"), { textContent: words })));
  byId("warnings").hidden = !warnings.length;
}

export function showRegions(regions) {
  byId("regions").replaceChildren(
    ...Object.entries(regions).map(([region, { volume, dice, low, high }]) => {
      const row = document.createElement("tr");
      const head = Object.assign(document.createElement("th"), { scope: "row", textContent: `${REGION_NAMES[region]} (${region})` });
      const cells = [volume.toFixed(2), dice.toFixed(2), `${low.toFixed(1)} to ${high.toFixed(1)}`];
      row.append(head, ...cells.map((textContent) => Object.assign(document.createElement("td"), { textContent })));
      return row;
    }),
  );
}

export function showTimes(times, threads) {
  const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;
  const parts = Object.entries(times).map(([stage, time]) => `${stage} ${seconds(time)}`);
  const total = Object.values(times).reduce((sum, time) => sum + time, 0);
  byId("times").textContent = `Computed in ${seconds(total)} with ${threads} ${threads === 1 ? "thread" : "threads"}: ${parts.join(", ")}.`;
}

// The label map on the grid of the scans, enhancing tumour as chosen.
export function saveLabels({ id, labels, grid, enhancing }) {
  const values = labels.map((value) => (value === 4 ? enhancing : value));
  save(`${id}_seg.nii.gz`, writeNifti(values, grid, { mark: MARK }), { packed: true });
}

// The critic's confidence in a region, in [0, 1].
export function saveConfidence({ id, confidence, grid }, region) {
  save(`${id}_confidence_${region}.nii.gz`, writeNifti(confidence[region], grid, { mark: MARK, step: 0.01 }), { packed: true });
}

export async function save(name, content, { packed = false } = {}) {
  const blob = new Blob([content]);
  const whole = packed ? await new Response(blob.stream().pipeThrough(new CompressionStream("gzip"))).blob() : blob;
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(whole), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
