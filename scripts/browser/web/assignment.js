// Which file is which modality: guessed by the names, shown for correction.
import { MODALITIES } from "./settings.js";
import { all, byId } from "./slice_viewer.js";

let offered = [];

// Shows the files of a case, as findCase returns it, in one list for each modality.
export function showAssignment({ id, volumes, slots }) {
  offered = volumes;
  byId("case").textContent = id;
  byId("assignment").hidden = false;
  for (const select of all("[data-slot]")) {
    const options = volumes.map(({ path }, index) => new Option(path, index));
    select.replaceChildren(new Option("choose the file", ""), ...options);
    select.selectedIndex = volumes.indexOf(slots[select.dataset.slot]) + 1;
  }
}

// The entry { path, file } that is chosen for each modality, undefined where none is.
export function chosen() {
  const select = (modality) => document.querySelector(`[data-slot="${modality}"]`);
  return Object.fromEntries(MODALITIES.map((modality) => [modality, offered[select(modality).value === "" ? -1 : Number(select(modality).value)]]));
}

// The files of a drop, those in folders too, as [{ path, file }].
export async function filesOfDrop({ items, files }) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...files].map((file) => ({ path: file.name, file }));
  return (await Promise.all(entries.map(filesBelow))).flat();
}

async function filesBelow(entry) {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) return [{ path, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) }];
  const reader = entry.createReader();
  const below = [];
  // a reader gives some entries at a time
  for (let more; (more = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length; ) below.push(...more);
  return (await Promise.all(below.map(filesBelow))).flat();
}
