"use strict";
(() => {
  const words = document.getElementById("words");
  const boxes = [...document.querySelectorAll('#filter input[name="verdict"]')];
  const articles = [...document.querySelectorAll("article")];
  const texts = new Map(articles.map((article) => [article, article.textContent.toLowerCase()]));
  const found = document.getElementById("found");

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const off = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    let shown = 0;
    for (const article of articles) {
      const verdicts = article.dataset.verdicts.split(" ").filter(Boolean);
      const kept = verdicts.length === 0 ? off.size === 0 : verdicts.some((verdict) => !off.has(verdict));
      article.hidden = !(kept && wanted.every((word) => texts.get(article).includes(word)));
      shown += !article.hidden;
      for (const one of article.querySelectorAll("[data-verdict]")) {
        one.hidden = off.has(one.dataset.verdict);
      }
      const entry = document.querySelector(`nav li[data-of="${CSS.escape(article.id)}"]`);
      if (entry) entry.hidden = article.hidden;
    }
    for (const group of document.querySelectorAll(".group")) {
      group.hidden = !group.querySelector("article:not([hidden])");
    }
    found.textContent = shown === articles.length ? "" : `${shown} of ${articles.length} shown`;
  }
  words.addEventListener("input", filter);
  for (const box of boxes) box.addEventListener("change", filter);
  document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());

  // Paper has nothing to press: what is folded away is printed.
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.open = true;
      details.dataset.opened = "";
    }
  });
  addEventListener("afterprint", () => {
    for (const details of document.querySelectorAll("details[data-opened]")) {
      details.open = false;
      delete details.dataset.opened;
    }
  });

  function value(cell) {
    const text = cell.textContent.trim();
    const number = Number(text.replaceAll(",", "").split(" to ")[0]);
    return text === "" ? null : Number.isNaN(number) ? text : number;
  }
  function before(a, b) {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [value(row.cells[column]), row]);
        rows.sort(([a], [b]) => (descending && a !== null && b !== null ? -before(a, b) : before(a, b)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }
})();
