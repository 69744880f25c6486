// Questions to the reviewer.
import { byId } from "./slice_viewer.js";

// Opens a dialog; returns what its fields hold and the `choice`, or nothing where it was cancelled.
export function ask(id, words) {
  const dialog = byId(id);
  const form = dialog.querySelector("form");
  form.reset();
  if (words !== undefined) dialog.querySelector("p").textContent = words;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const cancel = form.querySelector("button[value='']");
    if (cancel) cancel.formNoValidate = true;
    // Enter presses the first button of a form, which would cancel it
    form.onkeydown = (event) => {
      if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
      event.preventDefault();
      form.requestSubmit(form.querySelector("button[value=ok]"));
    };
    dialog.onclose = () => {
      const choice = dialog.returnValue;
      resolve(choice ? { choice, ...Object.fromEntries(new FormData(form)) } : undefined);
    };
  });
}

export const confirms = async (words) => Boolean(await ask("question", words));
