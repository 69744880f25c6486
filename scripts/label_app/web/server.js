// Asks the server; what goes wrong becomes an Error in words, with its `status` and `detail`.
let token = "";

// Returns the response to a request; `query` is a mapping, `options` are those of fetch.
export async function call(path, query = {}, options = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(`../${path}?${new URLSearchParams(query)}`, { ...options, headers }).catch(() => {
    throw new Error("The server does not answer. Is it still running? Nothing was lost here.");
  });
  if (response.ok) return response;
  const { detail } = await response.json().catch(() => ({}));
  const words = Array.isArray(detail) ? detail.map(({ msg }) => msg).join("; ") : detail?.message ?? detail;
  const error = new Error(`${words ?? response.statusText} (${response.status})`);
  throw Object.assign(error, { status: response.status, detail });
}

export const json = async (...request) => (await call(...request)).json();

// The path of what belongs to a case.
export const ofCase = (name, rest = "") => `review/cases/${encodeURIComponent(name)}${rest}`;

// Returns a volume of a case as NiiVue's image.
export async function loadVolume(name, rest, options) {
  const blob = await (await call(ofCase(name, rest))).blob();
  return niivue.NVImage.loadFromFile({ file: new File([blob], "volume.nii"), ...options });
}

// Returns the voxels of a label map of a case, which lies on its scans' grid or is not shown.
export async function loadLabel(name, tag, { shape }) {
  const { img, hdr } = await loadVolume(name, `/label/${tag}`);
  if (shape.some((size, axis) => hdr.dims[axis + 1] !== size)) throw new Error("The label does not lie on the scan's grid.");
  return img;
}

// Sends JSON, and returns what is answered.
export const post = (path, content = {}) =>
  json(path, {}, { method: "POST", body: JSON.stringify(content), headers: { "Content-Type": "application/json" } });

// Sends a NIfTI file.
export const put = (path, query, body) =>
  json(path, query, { method: "PUT", body, headers: { "Content-Type": "application/octet-stream" } });

// Where authentication is on: gets the token that all further requests carry.
export async function signIn(username, password) {
  const body = new URLSearchParams({ username, password });
  token = (await json("auth/token", {}, { method: "POST", body })).access_token;
}
