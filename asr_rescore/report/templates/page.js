"use strict";
(() => {
  const find = (selector, inside = document) => inside.querySelector(selector);
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const make = (tag, text = "", names = "") => {
    const element = document.createElement(tag);
    element.textContent = text;
    if (names) element.className = names;
    return element;
  };

  // Tables: a click on the head of a column sorts by it.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const value = Number(text);
    return text === "" || Number.isNaN(value) ? text : value;
  };
  const inOrder = (one, other) => {
    if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
    return typeof one === "number" ? -1 : 1; // what has no number comes last
  };
  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      const button = make("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        const sign = ascending ? 1 : -1;
        rows.sort((one, other) => sign * inOrder(valueOf(one, column), valueOf(other, column)));
        table.tBodies[0].append(...rows);
      });
    });
  }

  for (const button of all("button.copy")) {
    const text = find("pre", button.closest("details"));
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "copied";
      } catch { // a browser that forbids it
        getSelection().selectAllChildren(text);
        button.textContent = "selected";
      }
    });
  }

  // Utterances
  const source = find("#data");
  if (!source) return;
  const { sets, oov } = JSON.parse(source.textContent);
  const [UTT, SPEAKER, REFERENCE, TEXTS, NUMBERS, COSTS] = [0, 1, 2, 3, 4, 5];
  const NAT = 10; // costs are in tenths
  const CHEAPER = 1 * NAT; // by how much a word must be cheaper to be marked
  const MORE = 30;
  const MAPPED = 500;
  const FIRST_PASS = "first pass";
  const controls = { set: find("#set"), system: find("#system"), filter: find("#filter"), query: find("#query") };
  const body = find("#list tbody");
  let chosen = []; // the utterances that the filters leave
  let current = null;
  let shown = MORE;

  const currentSet = () => sets[Number(controls.set.value)];
  const rowOf = (name) => currentSet().rows.indexOf(name);
  const words = (text) => (text === "" ? [] : text.split(" "));
  const textOf = (utt, row) => utt[TEXTS][utt[NUMBERS][row]];
  const errorsOf = (utt, row) => {
    const text = textOf(utt, row);
    return text === null ? words(utt[REFERENCE]).length : words(text).length;
  };

  // The errors of a hypothesis, decoded: for each reference word what was heard (null: nothing), and the words
  // inserted before each reference word and after the last.
  const decoded = (reference, text) => {
    const heard = text === null ? reference.map(() => null) : [...reference];
    const inserted = Array.from({ length: reference.length + 1 }, () => []);
    for (const edit of words(text ?? "")) {
      const [, place, kind, word] = /^(\d+)([-=+])(.*)$/s.exec(edit);
      if (kind === "+") inserted[Number(place)].push(word);
      else heard[Number(place)] = kind === "-" ? null : word;
    }
    return { heard, inserted };
  };

  const cellOf = (said, heard, before) => {
    const cell = make("td");
    if (said === null) {
      if (heard !== undefined) cell.append(make("span", `+${heard}`, "ins"));
      return cell;
    }
    const right = said === heard;
    const kinds = right ? [] : [heard === null ? "del" : "sub"];
    const wasRight = before === undefined ? right : before === said;
    let text = heard ?? "—";
    if (right && !wasRight) {
      kinds.push("fixed");
      text = `✓ ${text}`;
    } else if (!right && wasRight && before !== undefined) {
      kinds.push("broken");
      text = `✗ ${text}`;
    }
    cell.append(kinds.length ? make("span", text, kinds.join(" ")) : text);
    if (!right) cell.title = heard === null ? `“${said}” deleted` : `“${heard}” in place of “${said}”`;
    if (right && !wasRight) cell.title = `first pass: ${before === null ? "deleted" : `“${before}”`}`;
    return cell;
  };

  const tableRows = (utt) => {
    const { rows } = currentSet();
    const grouped = new Map();
    rows.forEach((name, row) => {
      const text = textOf(utt, row);
      const key = name === FIRST_PASS ? FIRST_PASS : `hypothesis ${text}`;
      if (!grouped.has(key)) grouped.set(key, { names: [], text, first: name === FIRST_PASS });
      grouped.get(key).names.push(name);
    });
    const system = controls.system.value;
    return [...grouped.values()].map((row) => ({ ...row, chosen: row.names.includes(system) }))
      .sort((one, other) => other.first - one.first || other.chosen - one.chosen);
  };

  // What each word of a hypothesis costs under each language model of the chosen system, column by column.
  const costLines = (columns, row, costs, which) => costs.map(([name, ...pair]) => {
    const waiting = words(pair[which]).map(Number);
    const values = columns.map((column) => {
      if (column.end) return waiting.shift();
      const heard = column.said === null ? row.inserted[column.index][column.extra] : row.heard[column.index];
      return heard === undefined || heard === null ? undefined : waiting.shift();
    });
    return { name, values };
  });
  const costCell = (value, other) => {
    const cell = make("td", value === undefined ? "" : (value / NAT).toFixed(1), "cost");
    if (value !== undefined && other !== undefined && value <= other - CHEAPER) cell.classList.add("cheaper");
    return cell;
  };
  const signed = (tenths) => `${tenths < 0 ? "−" : "+"}${(Math.abs(tenths) / NAT).toFixed(1)}`;
  const why = (parts) => {
    const changes = parts.map(([name, text]) => [name, Number(text)]);
    const total = changes.reduce((sum, [, change]) => sum + change, 0);
    const shown = changes.filter(([, change]) => change).sort((one, other) => one[1] - other[1]);
    return `Why: with its weights, ${controls.system.value} finds its hypothesis ${(Math.abs(total) / NAT).toFixed(1)} `
      + `${total <= 0 ? "cheaper" : "more expensive"} than that of the first pass: `
      + `${shown.map(([name, change]) => `${name} ${signed(change)}`).join(", ")}.`;
  };

  const showUtterance = () => {
    const place = find("#utterance");
    place.replaceChildren();
    if (!current) return;
    const reference = words(current[REFERENCE]);
    const rows = tableRows(current).map((row) => ({ ...row, ...decoded(reference, row.text) }));
    const before = rows.find((row) => row.first);
    const chosenRow = rows.find((row) => row.chosen);
    const system = rowOf(controls.system.value);
    const [parts, lmCosts] = (current[COSTS] && current[COSTS][system]) || [[], []];
    const unknown = new Set(oov[currentSet().oov[system]]);
    const columns = [];
    for (let index = 0; index <= reference.length; index += 1) {
      const most = Math.max(...rows.map((row) => row.inserted[index].length));
      for (let extra = 0; extra < most; extra += 1) columns.push({ index, extra, said: null });
      if (index < reference.length) columns.push({ index, said: reference[index] });
    }
    if (lmCosts.length) columns.push({ end: true, index: reference.length, said: null });
    const markOov = (cell, word) => {
      if (word === null || word === undefined || !unknown.has(word)) return cell;
      cell.classList.add("oov");
      cell.title = `${cell.title ? `${cell.title}; ` : ""}${controls.system.value} does not know “${word}”`;
      return cell;
    };
    const hypothesisCell = (row, column) => {
      if (column.end) return make("td");
      if (column.said === null) {
        const word = row.inserted[column.index][column.extra];
        return markOov(cellOf(null, word), word);
      }
      const heard = row.heard[column.index];
      const compared = row.first || !before ? undefined : before.heard[column.index];
      return markOov(cellOf(column.said, heard, compared), heard);
    };
    // The lines below the reference: hypotheses, and under the first pass's and the chosen one what their words cost.
    const both = before && chosenRow ? [before, chosenRow].map((row, which) => costLines(columns, row, lmCosts, which)) : [[], []];
    const lines = rows.flatMap((row) => {
      const which = row === before ? 0 : row === chosenRow ? 1 : -1;
      const costs = which < 0 ? [] : both[which].map(({ name, values }, lm) => ({
        names: [innerWidth < 600 ? name : `cost: ${name}`],
        cells: values.map((value, column) => costCell(value, both[1 - which][lm].values[column])),
        kind: "costs",
      }));
      const cells = columns.map((column) => hypothesisCell(row, column));
      return [{ names: row.names, cells, kind: row.chosen ? "chosen" : "" }, ...costs];
    });
    const speaker = current[SPEAKER] ? `, speaker ${current[SPEAKER]}` : "";
    place.append(make("h3", `${current[UTT]}${speaker}`));
    // As many columns side by side as there is room for; the others go below.
    const narrow = innerWidth < 600;
    const letters = (matchMedia("print").matches ? 700 : place.clientWidth) / 9 - (narrow ? 11 : 24);
    const label = (names, short) => {
      const head = Object.assign(make("th"), { scope: "row", title: names.join(", ") });
      const text = short && names.length > 1 ? `${names[0]} +${names.length - 1}` : names.join(", ");
      for (const part of text.split(/(?<=_)/)) head.append(part, make("wbr"));
      return head;
    };
    let table = null;
    let room = 0;
    columns.forEach((column, number) => {
      const said = column.end ? "end" : column.said ?? "";
      const width = Math.max(said.length, ...lines.map((line) => line.cells[number].textContent.length)) + 1.5;
      if (!table || width > room) {
        table = make("table");
        const head = table.insertRow();
        head.append(Object.assign(make("th", "reference"), { scope: "row" }));
        for (const line of lines) {
          const row = table.insertRow();
          if (line.kind) row.className = line.kind;
          row.append(label(line.names, narrow || number > 0));
        }
        const wide = make("div", "", "wide");
        wide.append(table);
        place.append(wide);
        room = letters;
      }
      room -= width;
      table.rows[0].append(markOov(make("td", said, column.end ? "cost" : ""), column.said));
      lines.forEach((line, index) => table.rows[index + 1].append(line.cells[number]));
    });
    const together = rows.filter((row) => row.names.length > 1);
    if (narrow && together.length) {
      place.append(make("p", `Alike: ${together.map((row) => row.names.join(" = ")).join("; ")}`, "remark"));
    }
    if (parts.length) place.append(make("p", why(parts), "why"));
    if (!columns.length) place.append(make("p", "Nothing was said and nothing heard."));
  };

  const choose = (utt, andFocus = false) => {
    current = utt;
    const index = chosen.indexOf(utt);
    if (index >= shown) shown = index + 1;
    showUtterance();
    showList();
    if (utt) history.replaceState(null, "", `#utt=${encodeURIComponent(`${currentSet().name}/${utt[UTT]}`)}`);
    if (andFocus) find("#utterance").scrollIntoView({ block: "nearest" });
  };

  // A bar for each utterance that the filters leave, as high as it has errors.
  const showMap = (first, system) => {
    const mapped = chosen.slice(0, MAPPED);
    const most = Math.max(1, ...mapped.map((utt) => errorsOf(utt, system)));
    find("#map").replaceChildren(...mapped.map((utt) => {
      const errors = errorsOf(utt, system);
      const before = first < 0 ? errors : errorsOf(utt, first);
      const bar = make("i", "", errors < before ? "fewer" : errors > before ? "more" : "same");
      bar.classList.toggle("current", utt === current);
      bar.style.height = `${Math.round(100 * errors / most)}%`;
      bar.addEventListener("click", () => choose(utt, true));
      return bar;
    }));
  };

  const showList = () => {
    const system = rowOf(controls.system.value);
    const first = rowOf(FIRST_PASS);
    body.replaceChildren(...chosen.slice(0, shown).map((utt) => {
      const row = make("tr", "", utt === current ? "current" : "");
      const button = make("button", utt[UTT]);
      button.type = "button";
      button.addEventListener("click", () => choose(utt, true));
      row.insertCell().append(button);
      row.append(make("td", first < 0 ? "" : errorsOf(utt, first)), make("td", errorsOf(utt, system)));
      row.append(make("td", utt[REFERENCE]));
      return row;
    }));
    showMap(first, system);
    find("#more").hidden = shown >= chosen.length;
    find("#count").textContent = `${chosen.length} of ${currentSet().utts.length} utterances`;
  };

  const PASSES = {
    all: () => true,
    changed: (utt, first, system) => first < 0 || textOf(utt, first) !== textOf(utt, system),
    better: (utt, first, system) => first >= 0 && errorsOf(utt, system) < errorsOf(utt, first),
    worse: (utt, first, system) => first >= 0 && errorsOf(utt, system) > errorsOf(utt, first),
    wrong: (utt, first, system) => errorsOf(utt, system) > 0,
  };
  // A search such as "errors>2 words<=5 mat": conditions, and text that one of the transcripts has.
  const wordsOf = (utt) => words(utt[REFERENCE]).length;
  const MEASURES = {
    words: wordsOf,
    before: (utt, first) => (first < 0 ? NaN : errorsOf(utt, first)),
    errors: (utt, first, system) => errorsOf(utt, system),
    fixed: (utt, first, system) => (first < 0 ? NaN : errorsOf(utt, first) - errorsOf(utt, system)),
    wer: (utt, first, system) => 100 * errorsOf(utt, system) / wordsOf(utt),
  };
  const OPERATORS = {
    "<": (one, other) => one < other,
    "<=": (one, other) => one <= other,
    "=": (one, other) => one === other,
    ">=": (one, other) => one >= other,
    ">": (one, other) => one > other,
  };
  const CONDITION = new RegExp(`^(${Object.keys(MEASURES).join("|")})(<=|>=|<|=|>)(-?\\d+(?:\\.\\d+)?)$`);
  const filter = (keep = false) => {
    const terms = controls.query.value.trim().toLowerCase().split(/\s+/);
    const conditions = terms.map((term) => CONDITION.exec(term)).filter(Boolean);
    const query = terms.filter((term) => !CONDITION.test(term)).join(" ");
    const system = rowOf(controls.system.value);
    const first = rowOf(FIRST_PASS);
    const passes = PASSES[controls.filter.value];
    const meets = (utt) => conditions.every(
      ([, measure, operator, limit]) => OPERATORS[operator](MEASURES[measure](utt, first, system), Number(limit)));
    const matches = (utt) => !query
      || [utt[UTT], utt[REFERENCE], ...utt[TEXTS]].some((text) => (text ?? "").toLowerCase().includes(query));
    chosen = currentSet().utts.filter((utt) => passes(utt, first, system) && meets(utt) && matches(utt));
    shown = MORE;
    const staying = keep && current ? current : chosen.includes(current) ? current : chosen[0] ?? null;
    current = staying;
    showUtterance();
    showList();
  };

  const fill = (select, names) => select.replaceChildren(
    ...names.map(([value, name]) => Object.assign(make("option", name), { value })));
  const changeSet = () => {
    const system = controls.system.value;
    const names = currentSet().rows.filter((name) => name !== FIRST_PASS);
    fill(controls.system, names.map((name) => [name, name]));
    if (names.includes(system)) controls.system.value = system;
    current = null;
    filter();
  };

  const step = (by) => {
    const index = chosen.indexOf(current) + by;
    if (index >= 0 && index < chosen.length) choose(chosen[index], true);
    return index >= 0 && index < chosen.length;
  };
  const errorCells = () => all("#utterance tr.chosen :is(.sub, .del, .ins)");
  const nextError = () => {
    let cells = errorCells();
    let index = cells.indexOf(document.activeElement) + 1;
    while (index >= cells.length) {
      if (!step(1)) return;
      cells = errorCells();
      index = 0;
    }
    cells[index].tabIndex = -1;
    cells[index].focus();
  };
  const KEYS = {
    n: () => step(1),
    p: () => step(-1),
    e: nextError,
    "/": () => controls.query.focus(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (KEYS[event.key]) {
      event.preventDefault();
      KEYS[event.key]();
    }
  });

  const followAddress = () => {
    const match = /^#utt=(.+)$/.exec(location.hash);
    if (!match) return false;
    let wanted = match[1];
    try { wanted = decodeURIComponent(wanted); } catch { /* an address that someone wrote by hand */ }
    for (const [number, set] of sets.entries()) {
      const utt = set.utts.find((entry) => wanted === `${set.name}/${entry[UTT]}` || wanted === entry[UTT]);
      if (utt) {
        controls.set.value = String(number);
        changeSet();
        if (!chosen.includes(utt)) {
          controls.filter.value = "all";
          controls.query.value = "";
          filter();
        }
        choose(utt);
        find("#utterances").scrollIntoView();
        return true;
      }
    }
    return false;
  };

  fill(controls.set, sets.map((set, number) => [String(number), set.name]));
  controls.set.value = String(Math.max(0, sets.findIndex((set) => set.name === source.dataset.set)));
  changeSet();
  if (controls.system.querySelector(`option[value="${CSS.escape(source.dataset.system)}"]`)) {
    controls.system.value = source.dataset.system;
    filter();
  }
  controls.set.addEventListener("change", changeSet);
  controls.system.addEventListener("change", () => filter(true));
  controls.filter.addEventListener("change", () => filter());
  controls.query.addEventListener("input", () => filter());
  find("#filters").addEventListener("submit", (event) => event.preventDefault());
  find("#more").addEventListener("click", () => { shown += 10 * MORE; showList(); });
  addEventListener("hashchange", followAddress);
  addEventListener("resize", showUtterance);
  followAddress();
})();
