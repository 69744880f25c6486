// Percentiles as NumPy computes them.

// Percentiles of values, which are sorted in place (a typed array).
export function percentiles(values, wanted) {
  values.sort();
  return wanted.map((percent) => {
    const at = (percent / 100) * (values.length - 1);
    const below = Math.floor(at);
    const low = values[below];
    const high = values[Math.min(below + 1, values.length - 1)];
    const share = at - below;
    return share < 0.5 ? low + (high - low) * share : high - (high - low) * (1 - share);
  });
}

export const median = (values) => percentiles(values.slice(), [50])[0];
