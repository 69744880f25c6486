// Keys: one table makes them work and lists them.
import { byId } from "./slice_viewer.js";

// `table` holds [key, words, action]; a key is as KeyboardEvent.key says, "Ctrl " and "Shift " before it count.
export function listenToKeys(table, isFree) {
  const known = new Map(table.map(([key, , action]) => [key, action]));
  window.addEventListener(
    "keydown",
    (event) => {
      if (document.querySelector("dialog[open]") || !isFree()) return;
      const inControl = event.target.matches?.("input:not([type=checkbox]):not([type=range]), select");
      const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
      const letter = event.shiftKey && /^[A-Z]$/.test(key) ? `Shift ${key}` : key;
      const name = event.ctrlKey || event.metaKey ? `Ctrl ${key}` : letter;
      // NiiVue has keys of its own, which nobody would expect here
      if (event.target.tagName === "CANVAS" && key !== "Tab") event.stopImmediatePropagation();
      const action = known.get(name);
      if (!action || (inControl && !event.ctrlKey)) return;
      if (event.target.matches?.("input[type=range]") && event.key.startsWith("Arrow")) return;
      event.preventDefault();
      action();
    },
    { capture: true },
  );
  byId("keys").querySelector("dl").replaceChildren(
    ...table
      .filter(([, words]) => words)
      .flatMap(([key, words]) => [
        Object.assign(document.createElement("dt"), { textContent: key }),
        Object.assign(document.createElement("dd"), { textContent: words }),
      ]),
  );
}
