// The list of a case's versions: who made them, what was decided, and what can be done with each.
import { compare } from "./comparison.js";
import { replaceDrawing } from "./case.js";
import { call, loadLabel, ofCase } from "./server.js";
import { run, state } from "./session.js";
import { byId } from "./slice_viewer.js";

document.addEventListener("changed", () => {
  const { versions = [], segmentation } = state.details ?? {};
  const lines = versions.map((version) => ({ tag: `v${version.version}`, title: `Version ${version.version}`, ...version }));
  if (segmentation) lines.unshift({ tag: "original", title: "Machine's segmentation", by: "not reviewed", at: segmentation.at });
  byId("versions").replaceChildren(...lines.reverse().map(entry));
  byId("export").hidden = !versions.length;
});

function entry(line) {
  const item = document.createElement("li");
  const about = state.details.decisions.filter(({ version }) => version && `v${version}` === line.tag);
  const words = [`${line.title}: ${line.by}, ${line.at.replace("T", " ").slice(0, 16)}`];
  words.push(...about.map(({ state: what, by, comment }) => `${what} by ${by}${comment && `: ${comment}`}`));
  for (const text of words) item.append(Object.assign(document.createElement("div"), { textContent: text }));
  const bar = item.appendChild(Object.assign(document.createElement("div"), { className: "bar" }));
  for (const [text, action] of [["Compare", () => compare(line.tag)], ["Restore", () => restore(line)]]) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.addEventListener("click", () => run(`Loading ${line.title} …`, action));
    bar.append(button);
  }
  item.ariaCurrent = String(state.other?.tag === line.tag);
  return item;
}

async function restore({ tag, title }) {
  replaceDrawing(await loadLabel(state.name, tag, state.details.grid), `${title} restored into the drawing`);
}

// Saves the newest version as a file of the reviewer's; it is fetched like all else, so that no address holds a token.
export const exportNewest = () =>
  run("Exporting …", async () => {
    const tag = `v${state.details.versions.at(-1).version}`;
    const url = URL.createObjectURL(await (await call(ofCase(state.name, `/export/${tag}`))).blob());
    Object.assign(document.createElement("a"), { href: url, download: `${state.name}_${tag}.nii.gz` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser has read it by then
  });
