// The list of cases and what runs in the background, looked at again and again.
import { showCases, showScoring, showTraining } from "./cases.js";
import { call, json, post } from "./server.js";
import { changed, isBusy, state } from "./session.js";

const PATIENCE = { busy: 1500, idle: 8000 }; // ms between two looks at the server
let timer;

// Asks for the list; returns whether anything runs.
export async function refresh() {
  const { cases, user, scoring, training } = await json("review/cases");
  Object.assign(state, { cases, user });
  showCases(cases, state.name);
  showScoring(scoring);
  showTraining(training, cases.filter((line) => line.state.state === "reviewed").length);
  changed();
  return scoring.running || training.running;
}

export async function watch() {
  plan(isBusy() || document.hidden ? false : await refresh().catch(() => false));
}

export async function startTraining(epochs) {
  await post("train/segmentation", { max_epochs: epochs });
  plan(await refresh());
}

export async function stopTraining() {
  await call("train/", {}, { method: "DELETE" });
  plan(await refresh());
}

function plan(busy) {
  clearTimeout(timer);
  timer = setTimeout(watch, busy ? PATIENCE.busy : PATIENCE.idle);
}
