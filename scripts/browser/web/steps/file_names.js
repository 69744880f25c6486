// What the names of files tell: the patterns are those of scripts/data/file_names.py.
import { KINDS, LABEL, MODALITIES, PATTERNS } from "../settings.js";
import { Refusal } from "./words.js";

const whole = (pattern) => new RegExp(`^(?:${pattern})$`, "is");
const VOLUME = whole(PATTERNS.volume);
const BIDS = whole(PATTERNS.bids);
const SUFFIX = new RegExp(PATTERNS.suffix, "i");

// The case and the kind that a file's name tells, "" where it tells none.
export function parseName(file) {
  const suffix = SUFFIX.exec(file);
  const stem = suffix ? file.slice(0, suffix.index) : file;
  const bids = BIDS.exec(stem)?.groups;
  if (bids) {
    const name = bids.name.toLowerCase();
    return { case: bids.case, kind: name === "t1w" && /_ce-/i.test(bids.entities) ? "T1ce" : KINDS[name] };
  }
  const told = VOLUME.exec(stem)?.groups;
  if (told) return { case: told.case ?? "", kind: KINDS[told.name.toLowerCase().replaceAll("-", "_")] };
  return { case: stem, kind: suffix?.[1] ? LABEL : "" };
}

// The case and the kind that a path tells; a file that is named by its modality alone has the name of its folder.
export function parsePath(path) {
  const [file, folder = ""] = path.split("/").reverse();
  const told = parseName(file);
  return told.case ? told : { ...told, case: folder };
}

export const isVolume = (path) => SUFFIX.test(path);

// Finds one case among files [{ path, file }], whose names tell the modality unless `told` does. Returns its id, all
// volumes, the entry of each modality, null where it is not clear, and what is not clear.
export function findCase(entries) {
  const volumes = entries.filter(({ path, told }) => (told || isVolume(path)) && !path.split("/").at(-1).startsWith("."));
  if (!volumes.length) throw new Refusal(`no case found (found ${shown(entries)}); give four NIfTI files (.nii or .nii.gz) or DICOM series`);
  const cases = new Map();
  for (const entry of volumes) {
    const { case: id, kind } = entry.told ?? parsePath(entry.path);
    if (!MODALITIES.includes(kind)) continue;
    if (!cases.has(id)) cases.set(id, new Map());
    cases.get(id).set(kind, [...(cases.get(id).get(kind) ?? []), entry]);
  }
  const complete = [...cases].filter(([, found]) => found.size === MODALITIES.length);
  if (complete.length > 1) {
    const names = complete.slice(0, 3).map(([id]) => id).join(", ");
    throw new Refusal(`holds ${complete.length} cases (${names} ...); give the files of one`);
  }
  const [id, found] = complete[0] ?? [...cases].sort((a, b) => b[1].size - a[1].size)[0] ?? ["", new Map()];
  return {
    id: id || "case",
    volumes,
    slots: Object.fromEntries(MODALITIES.map((modality) => [modality, found.get(modality)?.length === 1 ? found.get(modality)[0] : null])),
    problem: problemOf(found, volumes),
  };
}

function problemOf(found, volumes) {
  const missing = MODALITIES.filter((modality) => !found.has(modality));
  const words = missing.length ? [`has no ${missing.join(" and no ")} file (found ${shown(volumes)})`] : [];
  for (const [modality, entries] of found) {
    if (entries.length > 1) words.push(`${modality} may be ${entries.map(({ path }) => path).join(" or ")}`);
  }
  return words.length ? `${words.join("; ")}; choose it in the list` : "";
}

function shown(entries) {
  const names = entries.map(({ path }) => path.split("/").at(-1)).sort();
  return names.slice(0, 5).join(", ") + (names.length > 5 ? ", ..." : "");
}
