// What the name of a series' folder, or its description, tells.
import { MODALITIES } from "../settings.js";
import { parsePath } from "./file_names.js";

const DERIVED = /adc|dwi|dti|trace|perf|dsc|dce|cbf|cbv|swi|t2\s?\*|t2_?star|\bmap\b|\bsub(traction|tracted)?\b|scout|locali[sz]er|survey/;
const T1 = /t1|mp[_-]?rage|spgr|bravo/;
const CONTRAST = /(?<![a-z])(ce|c|gd|gad\w*|post\w*|km|contrast\w*|kontrast\w*)(?![a-z])|\+|t1(ce|c|gd|km|post)/;
const WITHOUT = /(?<![a-z])(pre|non|no|without|w\/?o|nativ\w*)(?![a-z])|precontrast/;

// The modality that a description such as "AX T1 MPRAGE +C" tells, "" where it tells none.
export function modalityOf(description) {
  const words = description.toLowerCase().replaceAll("_", " ");
  if (DERIVED.test(words)) return "";
  if (T1.test(words)) return CONTRAST.test(words) && !WITHOUT.test(words) ? "T1ce" : "T1"; // T1 FLAIR is T1
  if (/flair|tirm|dark.?fluid/.test(words)) return "FLAIR";
  return /t2/.test(words) ? "T2" : "";
}

// Turns converted series into entries of findCase. Folders t1, t1ce, t2 and flair tell the modality, as for the commands.
export function entriesOf(series) {
  const tops = new Set(series.map(({ path }) => path.split("/").slice(0, -1)[0] ?? ""));
  const above = tops.size === 1 ? [...tops][0] : "";
  return series.map(({ path, number, description, bytes, fault }) => {
    const folder = path.split("/").slice(0, -1).join("/");
    const byFolder = parsePath(folder);
    const told = MODALITIES.includes(byFolder.kind) ? byFolder : { case: above, kind: modalityOf(description) };
    const name = `${[number, description].filter((word) => word !== "").join(" ").replaceAll("/", "-") || "series"}.nii`;
    return { path: folder ? `${folder}/${name}` : name, file: new File([bytes], name), told, fault };
  });
}
