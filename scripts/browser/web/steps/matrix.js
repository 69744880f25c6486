// Affines as rows, [[a, b, c, x], [d, e, f, y], [g, h, i, z], [0, 0, 0, 1]], and what NumPy and NiBabel do with them.

export const identity = () => [0, 1, 2, 3].map((row) => [0, 1, 2, 3].map((column) => Number(row === column)));

export const multiply = (a, b) => a.map((row) => b[0].map((_, column) => row.reduce((sum, value, k) => sum + value * b[k][column], 0)));

export const transpose = (a) => a[0].map((_, column) => a.map((row) => row[column]));

export const place = (affine, point) => affine.slice(0, 3).map(([a, b, c, offset]) => a * point[0] + b * point[1] + c * point[2] + offset);

// The axes of an affine: its upper left 3 x 3 part.
export const axesOf = (affine) => affine.slice(0, 3).map((row) => row.slice(0, 3));

// The size of a voxel along each of its axes.
export const spacingOf = (affine) => [0, 1, 2].map((axis) => Math.sqrt([0, 1, 2].reduce((sum, row) => sum + affine[row][axis] ** 2, 0)));

export const fromAxes = (axes, offset = [0, 0, 0]) => [...axes.map((row, index) => [...row, offset[index]]), [0, 0, 0, 1]];

export const determinant = ([[a, b, c], [d, e, f], [g, h, i]]) => a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);

export function invert3(axes) {
  const [[a, b, c], [d, e, f], [g, h, i]] = axes;
  const whole = determinant(axes);
  const adjugate = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ];
  return adjugate.map((row) => row.map((value) => value / whole));
}

export function invert(affine) {
  const axes = invert3(axesOf(affine));
  const offset = axes.map((row) => -row.reduce((sum, value, k) => sum + value * affine[k][3], 0));
  return fromAxes(axes, offset);
}

// The upper triangular U with U^T U = A, of a symmetric positive definite A: Cholesky's factor, transposed.
export function upperCholesky(a) {
  const u = a.map((row) => row.map(() => 0));
  for (let j = 0; j < 3; j++) {
    for (let i = 0; i <= j; i++) {
      let sum = a[i][j];
      for (let k = 0; k < i; k++) sum -= u[k][i] * u[k][j];
      u[i][j] = i === j ? Math.sqrt(sum) : sum / u[i][i];
    }
  }
  return u;
}

// The orthogonal matrix nearest to regular axes, by Newton's iteration Q <- (Q + Q^-T) / 2.
export function nearestRotation(axes) {
  let q = axes;
  for (let step = 0; step < 60; step++) {
    const inverse = transpose(invert3(q));
    q = q.map((row, r) => row.map((value, c) => (value + inverse[r][c]) / 2));
  }
  return q;
}
