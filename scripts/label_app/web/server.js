// Asks MONAI Label's server; what goes wrong becomes an Error in words.
let token = "";

// Gives the response to a request; `query` is a mapping, `options` are those of fetch.
export async function call(path, query = {}, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(`../${path}?${new URLSearchParams(query)}`, { ...options, headers }).catch(() => {
    throw new Error("The server does not answer. Is it still running?");
  });
  if (response.ok) return response;
  const { detail } = await response.json().catch(() => ({}));
  const words = Array.isArray(detail) ? detail.map(({ msg }) => msg).join("; ") : detail;
  throw Object.assign(new Error(`${words ?? response.statusText} (${response.status})`), { status: response.status });
}

export const json = async (...request) => (await call(...request)).json();

// Where authentication is switched on: fetches the token that all further requests carry.
export async function signIn(form) {
  token = (await json("auth/token", {}, { method: "POST", body: new FormData(form) })).access_token;
}

// Has all cases scored that lack a score, in the background of the server; `tell` hears how many of how many are.
export async function scoreAll(tell) {
  await call("scoring/critic", {}, { method: "POST" }).catch((error) => {
    if (error.status !== 429) throw error; // it runs already
  });
  let task, last;
  do {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    task = await json("scoring/");
    const words = (task.details ?? []).join("\n").match(/\d+ of \d+ scored/g)?.at(-1) ?? last;
    if (words !== last) await tell(...words.match(/\d+/g).map(Number));
    last = words;
  } while (["SUBMITTED", "RUNNING"].includes(task.status));
  if (task.status !== "DONE") throw new Error(`The scoring failed: ${task.details?.at(-1)}`);
}
