// Who saves: the name that a person gave, or that of the account where authentication is on.
import { ask } from "./dialogs.js";
import { signIn } from "./server.js";
import { run, state } from "./session.js";

export async function who() {
  if (state.user) return state.user;
  const known = localStorage.getItem("reviewer") || (await rename());
  if (!known) throw new Error("Nothing was saved: say who you are first.");
  return known;
}

export async function rename() {
  const told = await ask("name");
  if (told?.by.trim()) localStorage.setItem("reviewer", told.by.trim());
  return told?.by.trim();
}

// Asks for name and password; `after` runs when they are right.
export async function askToSignIn(words, after) {
  const told = await ask("sign-in", words.includes("wrong") ? words : "This server asks who you are.");
  if (told) run("Signing in …", async () => (await signIn(told.username, told.password), after()));
}
