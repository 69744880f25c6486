// Refusals in the words of the commands, and numbers as Python writes them.

// A user's mistake: the message names the file, what was found and a remedy.
export class Refusal extends Error {}

// Python's `{value:.<digits>g}`.
export function general(value, digits = 6) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  const bare = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power >= -4 && power < digits) return bare(value.toFixed(digits - 1 - power));
  return `${bare(mantissa)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

// A shape as Python writes a tuple.
export const tuple = (values) => `(${values.join(", ")}${values.length === 1 ? "," : ""})`;

// Sizes in mm as the checks list them.
export const listed = (sizes) => [...sizes].map((size) => general(size, 3)).join(" x ");

// A text with unprintable characters escaped, such as a line break in a file's name.
export const oneLine = (text) =>
  [...String(text)].map((sign) => (/[\p{C}\p{Zl}\p{Zp}]/u.test(sign) ? escaped(sign) : sign)).join("");

function escaped(sign) {
  const named = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const code = sign.codePointAt(0);
  const hex = code.toString(16);
  return named[sign] ?? (code < 256 ? `\\x${hex.padStart(2, "0")}` : code < 65536 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`);
}

// What the page says of an error: a refusal's own words, or one line.
export function explained(error) {
  if (error instanceof Refusal) return error.message;
  const words = String(error?.message ?? error).split("\n")[0];
  const isMemory = error instanceof RangeError || /memory|bad_alloc|allocat|OOM/i.test(words);
  return isMemory ? `the memory is full (${words}); close other tabs and programs, or use a machine with 2 GB free` : words;
}
