// Sorts the list of cases by the heading that is chosen; a case without a value comes last.
(() => {
  "use strict";
  const table = document.getElementById("case-table");
  const body = table.tBodies[0];

  const number = (cell) => (cell.dataset.value === "" ? NaN : Number(cell.dataset.value));

  function sortBy(column, sign) {
    const compare = (a, b) => {
      const [x, y] = [a.cells[column], b.cells[column]];
      if (column === 0) return sign * x.dataset.value.localeCompare(y.dataset.value, "en", { numeric: true });
      const [p, q] = [number(x), number(y)];
      if (isNaN(p) || isNaN(q)) return isNaN(p) - isNaN(q);
      return sign * (p - q);
    };
    body.append(...[...body.rows].sort(compare));
  }

  for (const button of table.querySelectorAll("button[data-column]")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const ascending = heading.ariaSort !== "ascending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.ariaSort = "none";
      heading.ariaSort = ascending ? "ascending" : "descending";
      sortBy(Number(button.dataset.column), ascending ? 1 : -1);
    });
  }
})();
