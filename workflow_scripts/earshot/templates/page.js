"use strict";
// Tables sort by a press on a heading; "All numbers" filters, sorts and pages. Text is only ever set as text, never as markup.
(() => {
  const DASH = "—", PAGE = 100;
  const make = (name, settings = {}, ...children) => {
    const made = Object.assign(document.createElement(name), settings);
    made.append(...children);
    return made;
  };

  // "63.4 [60.1, 66.5]", "+3.7†", "−1,234.5" and "12 of 60" begin with a number; "2.13.0" and "5b3c" are text, a dash is nothing
  const number = /^[+\-\u2212]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?(?:(?<=\d)e[+\-]?\d+)?(?=$|\s*[†%\[(]|\s+of\s)/i;
  const keyOf = (text) => {
    const trimmed = text.trim();
    if (!trimmed || trimmed === DASH) return null;
    const found = trimmed.match(number)?.[0] ?? "";
    return /\d/.test(found) ? Number(found.replace("\u2212", "-").replaceAll(",", "")) : trimmed;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number" || typeof b === "number") return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b, "en", { numeric: true });
  };
  // the order of row numbers by their keys; nothing comes last in either direction, and equals keep their order
  const ordered = (keys, rows, down) =>
    [...rows].sort((a, b) => {
      const [x, y] = [keys(a), keys(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return (down ? compare(y, x) : compare(x, y)) || a - b;
    });

  // a heading with a button: numbers begin with the highest, words with the first; the third press is the order given
  const heading = (th, numeric, sorted) => {
    const button = make("button", { type: "button", className: "sort" });
    button.append(...th.childNodes);
    th.replaceChildren(button);
    button.addEventListener("click", () => {
      const first = numeric() ? "descending" : "ascending", second = numeric() ? "ascending" : "descending";
      const now = th.getAttribute("aria-sort");
      const next = now === first ? second : now === second ? "" : first;
      for (const other of th.parentElement.children) other.removeAttribute("aria-sort");
      if (next) th.setAttribute("aria-sort", next);
      sorted(next);
    });
  };

  const cellText = (cell) =>
    [...cell.childNodes].filter((node) => node.nodeName !== "SMALL").map((node) => node.textContent).join("");

  const sortable = (table) => {
    const body = table.tBodies[0], rows = [...body.rows];
    if (rows.length < 2) return;
    [...table.tHead.rows[0].cells].forEach((th, column) => {
      const keys = rows.map((row) => keyOf(row.cells[column] ? cellText(row.cells[column]) : ""));
      const numeric = () => keys.some((key) => typeof key === "number");
      heading(th, numeric, (order) => {
        const all = rows.keys();
        const places = order ? ordered((n) => keys[n], all, order === "descending") : [...all];
        body.append(...places.map((n) => rows[n]));
      });
    });
  };

  // columns hold either words with a code a row, or numbers, null where there is none
  const valueOf = (column, row) => (column.codes ? column.words[column.codes[row]] : column.values[row]);
  const shown = (value) => {
    if (value === null || value === "") return DASH;
    return typeof value === "number" ? String(value).replace("-", "\u2212") : value;
  };
  const quoted = (value) => {
    // a spreadsheet takes words that begin so for a formula
    const text = value === null ? "" : typeof value === "string" && /^[=+\-@\t]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  const explorer = (place) => {
    const { columns, rows } = JSON.parse(place.querySelector("script").textContent);
    // what is the same in every row is told once
    const varied = columns.filter((column) => !column.codes || column.words.length > 1);
    const same = columns.filter((column) => column.codes && column.words.length === 1 && column.words[0]);
    const all = [...Array(rows).keys()], chosen = new Map();
    let found = all, order = "", by = null, start = 0, words = "";

    const list = make("tbody"), told = make("p", { className: "note" });
    told.setAttribute("aria-live", "polite");
    const back = make("button", { type: "button", textContent: "Previous" });
    const on = make("button", { type: "button", textContent: "Next" });
    const draw = () => {
      const slice = found.slice(start, start + PAGE);
      list.replaceChildren(...slice.map((row) => make("tr", {}, ...varied.map((column) =>
        make("td", { textContent: shown(valueOf(column, row)), className: column.codes ? "" : "number" })))));
      const range = found.length ? `${start + 1} to ${start + slice.length} of ` : "";
      const shared = same.map((column) => `; ${column.name}: ${column.words[0]}`).join("");
      told.textContent = `Rows ${range}${found.length.toLocaleString("en")}, of ${rows.toLocaleString("en")} in all${shared}.`;
      back.disabled = !start;
      on.disabled = start + PAGE >= found.length;
    };
    const search = () => {
      const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
      const texts = columns.filter((column) => column.codes);
      found = all.filter((row) =>
        [...chosen].every(([column, value]) => column.words[column.codes[row]] === value)
        && wanted.every((word) => texts.some((column) => column.words[column.codes[row]].toLowerCase().includes(word))));
      if (order) {
        found = ordered((row) => { const value = valueOf(by, row); return value === "" ? null : value; }, found, order === "descending");
      }
      start = 0;
      draw();
    };

    const controls = make("div", { className: "controls" });
    for (const column of varied.filter((column) => column.codes && column.words.length <= 60)) {
      const select = make("select", {}, make("option", { value: "", textContent: "all" }));
      column.words.forEach((word, n) => select.append(make("option", { value: String(n), textContent: shown(word) })));
      select.addEventListener("change", () => {
        if (select.value === "") chosen.delete(column); else chosen.set(column, column.words[Number(select.value)]);
        search();
      });
      controls.append(make("label", {}, column.name, select));
    }
    const box = make("input", { type: "search", autocomplete: "off" });
    box.addEventListener("input", () => { words = box.value; search(); });
    controls.append(make("label", {}, "search", box));

    const head = make("tr");
    for (const column of varied) {
      const th = make("th", { scope: "col", textContent: column.name });
      heading(th, () => !column.codes, (next) => { order = next; by = column; search(); });
      head.append(th);
    }
    const frame = make("div", { className: "scroll", tabIndex: 0 }, make("table", { className: "numbers" }, make("thead", {}, head), list));
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", "All numbers");
    back.addEventListener("click", () => { start = Math.max(0, start - PAGE); draw(); });
    on.addEventListener("click", () => { start += PAGE; draw(); });
    const save = make("button", { type: "button", textContent: "Download these rows as CSV" });
    save.addEventListener("click", () => {
      const lines = [columns.map((column) => quoted(column.name)), ...found.map((row) => columns.map((column) => quoted(valueOf(column, row))))];
      const blob = new Blob([lines.map((line) => line.join(",")).join("\n") + "\n"], { type: "text/csv" });
      const link = make("a", { href: URL.createObjectURL(blob), download: `${place.dataset.name}.csv` });
      link.click();
      URL.revokeObjectURL(link.href);
    });
    place.append(controls, told, frame, make("p", { className: "controls" }, back, on, save));
    search();
  };

  document.querySelectorAll("table").forEach((table) => { if (table.tHead && table.tBodies.length) sortable(table); });
  document.querySelectorAll(".explorer").forEach(explorer);
})();
