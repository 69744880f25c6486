// Fills slices between those that were drawn.

// The axis across an axial, coronal and sagittal slice, by NiiVue's number of the plane.
export const ACROSS = [2, 1, 0];

// Fills the slices without a label between those where it was drawn, by NiiVue's interpolation.
// `touched` holds the numbers of voxels that were drawn, `plane` is that of the slices. Returns how many were filled.
export function fillBetween(nv, value, { plane, touched }) {
  const sliceOf = sliceIn(nv.back.dims, ACROSS[plane]);
  const drawn = nv.drawBitmap;
  const label = drawn.map((found) => (found === value ? value : 0));
  const slices = [...new Set(numbersOf(label).map(sliceOf))].sort((a, b) => a - b);
  const byHand = new Set(touched.map(sliceOf));
  let filled = 0;
  nv.drawBitmap = label; // alone, for NiiVue would interpolate the other labels too
  slices.slice(1).forEach((high, index) => {
    const low = slices[index];
    if (high - low < 2 || !byHand.has(low) || !byHand.has(high)) return;
    nv.interpolateMaskSlices(low, high, { sliceType: plane });
    filled += high - low - 1;
  });
  nv.drawBitmap = drawn;
  for (const index of numbersOf(label)) drawn[index] = value;
  return filled;
}

function sliceIn([, width, height], axis) {
  const places = [(index) => index % width, (index) => Math.floor(index / width) % height, (index) => Math.floor(index / (width * height))];
  return places[axis];
}

function numbersOf(bitmap) {
  const numbers = [];
  bitmap.forEach((value, index) => value && numbers.push(index));
  return numbers;
}
