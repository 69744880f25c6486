// The strokes on a label map: what each changed, so that any number can be undone and done again.
export class Strokes {
  // `bitmap` is what is drawn at first; `saved` tells whether it is what the server holds.
  constructor(bitmap, saved = true) {
    this.shown = bitmap.slice();
    this.done = [];
    this.undone = [];
    this.saved = saved ? 0 : -1;
  }

  // Whether the drawing differs from what the server holds.
  get edited() {
    return this.done.length !== this.saved;
  }

  // Takes over what was drawn since the last call; `refuse` (index, old, new) takes a voxel back. What was put there
  // from elsewhere is not `byHand`. Returns the numbers of voxels that were changed and refused.
  take(bitmap, refuse = () => false, byHand = true) {
    const at = [], before = [], after = [];
    let refused = 0;
    for (let i = 0; i < bitmap.length; i++) {
      if (bitmap[i] === this.shown[i]) continue;
      if (refuse(i, this.shown[i], bitmap[i])) {
        bitmap[i] = this.shown[i];
        refused++;
      } else {
        at.push(i), before.push(this.shown[i]), after.push(bitmap[i]);
      }
    }
    if (at.length) {
      if (this.saved > this.done.length) this.saved = -1; // what was saved is undone, and cannot come back
      at.forEach((index, i) => (this.shown[index] = after[i]));
      this.done.push({ at, before, after, byHand });
      this.undone = [];
    }
    return { changed: at.length, refused };
  }

  // Returns the numbers of the voxels into which a value was drawn by hand.
  drawnBy(value) {
    return this.done.flatMap(({ at, after, byHand }) => (byHand ? at.filter((_, i) => after[i] === value) : []));
  }

  undo(bitmap) {
    this.#apply(bitmap, this.done, this.undone, "before");
  }

  redo(bitmap) {
    this.#apply(bitmap, this.undone, this.done, "after");
  }

  #apply(bitmap, from, to, which) {
    const stroke = from.pop();
    if (!stroke) return;
    stroke.at.forEach((index, i) => (bitmap[index] = this.shown[index] = stroke[which][i]));
    to.push(stroke);
  }

  // Says that the server now holds what is drawn.
  keep() {
    this.saved = this.done.length;
  }
}
