// Saves what is drawn, as a draft or with a decision, and asks what to do where somebody else has saved.
import { refresh } from "./background.js";
import { openCase } from "./case.js";
import { compare, leaveComparison } from "./comparison.js";
import { ask, confirms } from "./dialogs.js";
import { digestOf, drawingFile } from "./drawing_file.js";
import { who } from "./people.js";
import { json, ofCase, put } from "./server.js";
import { run, state } from "./session.js";

const WORDS = { reviewed: "approved", rejected: "rejected" };

export const saveDraft = () => run(`Saving ${state.name} …`, () => save());
export const approve = (comment = "") => run(`Saving ${state.name} …`, () => save("reviewed", comment));

export async function approveWithComment() {
  const told = await ask("comment");
  if (told) approve(told.comment);
}

export async function reject() {
  const told = await ask("reason");
  if (told) run(`Saving ${state.name} …`, () => save("rejected", told.comment));
}

async function save(decision, comment = "") {
  const by = await who();
  leaveComparison();
  const { name, details, strokes } = state;
  const voxels = strokes.shown.slice();
  if (decision === "reviewed" && !voxels.some(Boolean) && !(await confirms("The label is empty. Approve that there is no tumour?"))) return;
  const path = ofCase(name, decision ? `/decision/${decision}` : "/label");
  const file = drawingFile(voxels, details.grid, details.mark);
  const send = (based_on) => put(path, { based_on, by, ...(decision && { comment }) }, file);
  let stored;
  try {
    stored = await send(details.versions.at(-1)?.version ?? 0);
  } catch (error) {
    if (error.status !== 409) throw error;
    stored = await resolve(error.detail, send);
    if (!stored) return;
  }
  const digest = await digestOf(voxels, details.grid.shape);
  if (digest && digest !== stored.voxels) throw new Error("The server stored other voxels than you drew. Keep this page open and report it.");
  strokes.keep();
  state.details = await json(ofCase(name));
  state.origin = `${WORDS[decision] ?? "saved as draft"}, version ${stored.version}`;
  await refresh();
}

// Somebody else has saved since the case was opened: what now? Returns what was stored, if anything was.
async function resolve({ message, newest }, send) {
  const answer = await ask("conflict", `${message}. Nothing of yours is lost, and nothing of theirs.`);
  if (answer?.choice === "mine") return send(newest.version);
  if (answer?.choice === "theirs") await openCase(state.name);
  if (answer?.choice === "look") {
    state.details = { ...(await json(ofCase(state.name))), versions: state.details.versions };
    await compare(`v${newest.version}`);
  }
}
