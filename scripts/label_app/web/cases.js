// The list of cases, and what runs in the background.
import { byId } from "./slice_viewer.js";

const WORDS = { none: "", draft: "draft", reviewed: "✓ reviewed", rejected: "✗ rejected", broken: "broken" };

const WORTH = ["low", "middle", "high"];

// Shows the cases, the one with the lowest expected Dice first.
export function showCases(cases, current) {
  const scores = cases.map(({ expected_dice }) => expected_dice).filter((value) => value !== null).sort((a, b) => a - b);
  const rank = ({ expected_dice, fault }) => (fault ? 3 : expected_dice ?? 2);
  const sorted = [...cases].sort((a, b) => rank(a) - rank(b) || a.case.localeCompare(b.case));
  byId("cases").replaceChildren(...sorted.map((line) => row(line, scores, current)));
  const count = (state) => cases.filter((line) => line.state.state === state).length;
  const rest = ["rejected", "broken"].filter(count).map((state) => `, ${count(state)} ${state}`);
  byId("count").textContent = `${count("reviewed")} of ${cases.length} cases reviewed${rest.join("")}`;
}

function row({ case: name, state, fault, expected_dice, scored }, scores, current) {
  const line = document.createElement("tr");
  line.dataset.case = name;
  line.ariaCurrent = String(name === current);
  const head = line.appendChild(document.createElement("th"));
  head.scope = "row";
  head.title = name;
  if (fault) {
    head.textContent = name;
    Object.assign(line.insertCell(), { colSpan: 2, className: "fault", textContent: fault });
    return line;
  }
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
  head.append(button);
  const cell = line.insertCell();
  if (expected_dice !== null) {
    const third = Math.min(2, Math.floor((3 * scores.indexOf(expected_dice)) / scores.length));
    const meter = Object.assign(document.createElement("meter"), { min: 0, max: 3, value: third + 1 });
    cell.append(`${WORTH[third]} `, meter);
    cell.title = `expected Dice: the ${["lowest", "middle", "highest"][third]} third of the cases listed`;
  } else cell.textContent = scored ? "nothing found" : "waiting";
  const draft = state.draft && state.state !== "draft" ? ", newer draft" : "";
  Object.assign(line.insertCell(), { className: state.state, textContent: WORDS[state.state] + draft });
  return line;
}

export function showScoring({ running, done, count, failed }) {
  byId("scoring").hidden = !running && !failed;
  Object.assign(byId("progress"), { max: count || 1, value: done });
  byId("scored").value = failed ? "segmenting all cases failed; see server.log" : `${done} of ${count} segmented`;
}

export function showTraining({ running, state, epoch, epochs, better, before, after, cases, few, message }, reviewed) {
  byId("train").disabled = running || reviewed < 2;
  byId("stop").hidden = byId("trained").hidden = !running;
  if (epoch) Object.assign(byId("trained"), { max: epochs, value: epoch - 1 });
  else byId("trained").removeAttribute("value");
  byId("verdict").textContent = running
    ? `${state ?? "starting"}${epoch ? `, epoch ${epoch} of ${epochs}` : ""}`
    : verdict({ state, better, before, after, cases, few, message, reviewed });
  byId("decided").hidden = running || !cases;
  byId("decided").tBodies[0].replaceChildren(
    ...(cases ?? []).map(({ case: name, before: old, after: now }) => {
      const line = document.createElement("tr");
      const cells = [name, old.toFixed(3), now.toFixed(3)].map((text, at) =>
        Object.assign(document.createElement(at ? "td" : "th"), { textContent: text }),
      );
      line.append(...cells);
      return line;
    }),
  );
}

function verdict({ state, better, before, after, cases, few, message, reviewed }) {
  if (state === "failed") return `The training failed: ${message ?? "see server.log"}`;
  if (state === "stopped") return "The training was stopped; the weights are as they were.";
  if (state !== "done") return reviewed < 2 ? "Two reviewed cases are needed." : `${reviewed} reviewed cases.`;
  const words = better ? "better, and now served" : "not better; the weights are as they were";
  const doubt = few ? ` Only ${cases.length} case${cases.length > 1 ? "s" : ""} decided: this says little.` : "";
  return `Mean Dice ${before.toFixed(3)} before, ${after.toFixed(3)} at best: ${words}.${doubt}`;
}
