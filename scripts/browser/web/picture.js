// The picture of a result, with what must be read beside it.
import { save } from "./results.js";
import { NOT_FOR_DIAGNOSIS, REGION_NAMES, TISSUES } from "./settings.js";
import { drawn, shownModality } from "./viewer.js";

const LINE = 26; // pixels
const LEAST_WIDTH = 800; // on which the words fit
const FONT = "16px system-ui, sans-serif";

export async function savePicture({ id, regions }) {
  const view = drawn();
  const width = Math.max(view.width, LEAST_WIDTH);
  const canvas = Object.assign(document.createElement("canvas"), { width, height: view.height + 3 * LINE + 10 });
  const context = canvas.getContext("2d");
  context.fillStyle = "#0d1117";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(view, (width - view.width) / 2, 0);
  context.font = FONT;
  const line = (number) => view.height + number * LINE;
  context.fillStyle = "#dbe2e9";
  const volumes = Object.entries(regions).map(([region, { volume }]) => `${REGION_NAMES[region]} ${volume.toFixed(1)} ml`);
  context.fillText(`${id} · ${shownModality()} · ${volumes.join(" · ")}`, 12, line(1), canvas.width - 24);
  let left = 12;
  for (const { name, colour } of Object.values(TISSUES)) {
    context.fillStyle = colour;
    context.fillRect(left, line(2) - 13, 14, 14);
    context.fillStyle = "#dbe2e9";
    context.fillText(name, left + 20, line(2));
    left += 40 + context.measureText(name).width;
  }
  context.fillStyle = "#ffb77a";
  context.fillText(`${NOT_FOR_DIAGNOSIS} Segmented by a network in the browser; radiological convention.`, 12, line(3), canvas.width - 24);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  await save(`${id}.png`, blob);
}
