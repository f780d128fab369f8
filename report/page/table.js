// --- the per-item table: rows are items, the arms side by side
const rows = (() => {
  let read = null;
  // Read when it is first needed: it is the largest thing on the page.
  const data = () => (read ??= JSON.parse($("table-data").textContent));
  const state = { number: null, condition: null, axis: "strict", fails: null, holds: null, sort: null, down: false, words: "" };
  const MOST = 100;
  const WIDEST = 15;
  const CLOSE = 1e-6;
  let all = false;
  let drawn = false;

  // --- values
  const specOf = (key) => {
    const [condition, arms, column, draws, counts, kind, title, said] = data().numbers[key];
    return { key, condition, arms, column, draws, counts, kind, title, said };
  };
  const view = () => data().conditions[state.condition];
  const answered = (arm, draws = null) => view().arms[arm][`answered@${draws}`] ?? view().arms[arm].answered;
  // How often an item counts in a number.
  function weight(spec, arm, i) {
    if (spec.counts === "oracle") return view().oracle[i];
    if (spec.counts === "no_oracle") return 1 - view().oracle[i];
    return spec.counts === "all" || arm === undefined ? 1 : answered(arm, spec.draws)[i];
  }
  function total(spec, arm, i) {
    if (spec.column === null) return weight(spec, arm, i);
    if (spec.column === "refused") return (1 - answered(arm)[i]) * weight(spec, arm, i);
    const its = view().arms[arm];
    return (its[`${spec.column}@${spec.draws}`] ?? its[spec.column])[i];
  }
  const counts = (spec, i) => (spec.arms.length ? spec.arms : [undefined]).every((arm) => weight(spec, arm, i) > 0);
  // What the rows of a number add up to, by the formula that the number was made with.
  function summed(spec, chosen) {
    const [first, second] = spec.arms;
    let [over, weights] = [0, 0];
    for (const i of chosen) {
      const w = weight(spec, first, i);
      if (second === undefined) {
        over += total(spec, first, i);
        weights += w;
      } else {
        const v = weight(spec, second, i);
        over += w * total(spec, second, i) - v * total(spec, first, i);
        weights += w * v;
      }
    }
    return spec.kind === "sum" ? over : weights ? over / weights : null;
  }
  const usual = (spec) => spec.draws === null && (spec.column === "refused" || (spec.counts === "answered" && data().columns.some((c) => c.name === spec.column)));
  // Axes on which arms are compared: the more, the better.
  const judged = ({ name }) => name !== "refused" && name !== "gap";
  // As results print numbers: an exact half goes to the even digit.
  function fixed(x) {
    const scaled = x * 1000;
    const near = Math.round(scaled);
    return ((near - scaled === 0.5 && near % 2 ? near - 1 : near) / 1000).toFixed(3);
  }
  const said = (x) => (x === null ? "–" : Math.abs(x - Math.round(x)) < CLOSE ? String(Math.round(x)) : fixed(x));

  // --- columns: groups of cells, an arm each
  function cellsOf(spec, arms, chosen = []) {
    return arms.map((arm) => ({
      arm,
      key: `${spec.name}.${arm}`,
      of: chosen.includes(arm),
      value: (i) => {
        const w = weight(spec, arm, i);
        if (!w) return null;
        return spec.kind === "sum" ? total(spec, arm, i) : total(spec, arm, i) / w;
      },
      text: said,
      low: spec.whole ? (x) => (x === null ? "" : x < CLOSE ? "none" : x < 1 - CLOSE ? "part" : "") : () => "",
      title: (i) => (weight(spec, arm, i) ? null : "not answered"),
    }));
  }
  const quality = (column) => ({ ...column, column: column.name, draws: null, counts: column.name === "refused" ? "all" : "answered" });
  function groups() {
    const { arms, columns, first } = data();
    const number = state.number && specOf(state.number);
    const chosen = number ? number.arms : [];
    const listed = columns.map((column) => ({ title: column.title, name: column.name, cells: cellsOf(quality(column), arms, number && usual(number) && number.column === column.name ? chosen : []) }));
    const picks = {
      title: "picked reply",
      name: "picked",
      cells: arms.map((arm) => ({ arm, key: `picked.${arm}`, pick: true, value: (i) => view().arms[arm].picked[i][0], text: (x) => String(x), low: () => "", title: () => null })),
    };
    const choices = {
      title: "had a choice",
      name: "choice",
      cells: arms.map((arm) => ({
        arm,
        key: `choice.${arm}`,
        value: (i) => view().best_of - view().arms[arm].picked[i].length,
        text: (x) => (x ? "yes" : "no"),
        low: () => "",
        title: (i) => `${view().arms[arm].picked[i].length} of ${view().best_of} tie for the best`,
      })),
    };
    const found = [...listed.slice(0, first), picks, choices, ...listed.slice(first)];
    if (!number || !number.arms.length || number.column === null) return found;
    if (usual(number) || number.column === "choice") {
      const own = found.find((group) => group.name === number.column);
      return [own, ...found.filter((group) => group !== own)];
    }
    const own = { ...number, name: "number" };
    return [{ title: number.title, name: "number", cells: cellsOf(own, number.arms, number.arms) }, ...found];
  }

  // --- rows
  function chosen() {
    const number = state.number && specOf(state.number);
    const wanted = state.words.toLowerCase();
    const test = state.fails && holding();
    const found = view().items.map((_, i) => i).filter((i) => {
      const id = view().items[i];
      return (!number || counts(number, i)) && (!test || test(i)) && (!wanted || `${id} ${questions.get(String(id)) ?? ""}`.toLowerCase().includes(wanted));
    });
    if (!state.sort) return found;
    const by = state.sort === "item" ? (i) => view().items[i] : groups().flatMap((g) => g.cells).find((cell) => cell.key === state.sort)?.value;
    if (!by) return found;
    const way = state.down ? -1 : 1;
    const valued = found.map((i) => [by(i), i]);
    // What has no value comes last, whichever way.
    valued.sort(([a, i], [b, j]) => (a === null) - (b === null) || (a === b ? i - j : (a < b ? -1 : 1) * way));
    return valued.map(([, i]) => i);
  }
  function holding() {
    const column = data().columns.find((c) => c.name === state.axis);
    const value = (arm, i) => {
      const w = answered(arm)[i];
      return w > 0 ? view().arms[arm][state.axis][i] / w : null;
    };
    return (i) => {
      const [a, b] = [value(state.fails, i), value(state.holds, i)];
      if (a === null || b === null) return false;
      return column.whole ? a < 1 - CLOSE && b >= 1 - CLOSE : a < b - CLOSE;
    };
  }
  const place = () => [
    ["rows", state.number ?? true],
    ["condition", state.number ? null : state.condition],
    ["axis", state.fails ? state.axis : null],
    ["fails", state.fails],
    ["holds", state.holds],
    ["sort", state.sort],
    ["down", state.sort ? state.down : false],
    ["words", state.words],
  ];

  // --- what is seen
  function link(i, arm, k = null) {
    return fragment([["item", String(view().items[i])], ["arm", arm], ["condition", state.condition], ["k", k]]);
  }
  function row(i, groups) {
    const id = String(view().items[i]);
    const question = questions.get(id) ?? "";
    const arm = groups.flatMap((g) => g.cells).find((cell) => cell.of)?.arm ?? data().arms.at(-1);
    const head = make("th", { scope: "row" }, make("a", { href: link(i, arm), title: question.length > 90 ? question : null }, id), " ");
    head.append(make("span", { class: "asks", dir: "auto" }, plain(question.length > 90 ? `${question.slice(0, 90)}…` : question)));
    if (!view().oracle[i]) head.append(make("span", { class: "role" }, "no oracle"));
    const line = make("tr", {}, head);
    for (const group of groups) {
      group.cells.forEach((cell, at) => {
        const value = cell.value(i);
        const kind = [at ? "" : "edge", cell.of ? "of" : "", cell.low(value)].filter(Boolean).join(" ");
        const td = make("td", { class: kind || null, "data-arm": cell.arm, title: cell.title(i) });
        if (cell.pick) {
          const ks = view().arms[cell.arm].picked[i];
          td.append(make("a", { href: link(i, cell.arm, ks[0]), "aria-label": `item ${id}, ${cell.arm}, picked reply ${ks[0]}` }, String(ks[0])));
          if (ks.length > 1) td.append(make("span", { class: "quiet", title: `${ks.join(", ")} tie` }, ` +${ks.length - 1}`));
        } else td.append(cell.text(value));
        line.append(td);
      });
    }
    return line;
  }
  function table(groups, listed, caption, printing) {
    const sorter = (key, text) => {
      const now = state.sort === key ? (state.down ? "descending" : "ascending") : null;
      // A printed page repeats the head, but not its buttons.
      return [now, printing ? text : make("button", { type: "button", "data-sort": key }, text, make("span", { class: "way", "aria-hidden": "true" }, now ? (state.down ? "▼" : "▲") : ""))];
    };
    const [way, item] = sorter("item", "item");
    const top = make("tr", {}, make("th", { scope: "col", rowspan: 2, "aria-sort": way }, item));
    const below = make("tr");
    for (const group of groups) {
      top.append(make("th", { scope: "colgroup", colspan: group.cells.length, class: group.cells.some((c) => c.of) ? "edge of" : "edge" }, group.title));
      group.cells.forEach((cell, at) => {
        const [sorted, button] = sorter(cell.key, cell.arm);
        below.append(make("th", { scope: "col", class: [at ? "" : "edge", cell.of ? "of" : ""].filter(Boolean).join(" ") || null, "aria-sort": sorted }, button));
      });
    }
    const width = groups.reduce((sum, group) => sum + group.cells.length, 1);
    const body = make("tbody", {}, ...(listed.length ? listed.map((i) => row(i, groups)) : [make("tr", {}, make("td", { class: "quiet", colspan: width }, "No match."))]));
    return make("table", { class: "grid" }, make("caption", { class: "unseen" }, caption), make("thead", {}, top, below), body);
  }
  // Paper is narrow: there the columns come in several tables, one below the other.
  function parts(groups, printing) {
    if (!printing) return [groups];
    const found = [[]];
    for (const group of groups) {
      const width = found.at(-1).reduce((sum, g) => sum + g.cells.length, 0);
      if (width && width + group.cells.length > WIDEST) found.push([]);
      found.at(-1).push(group);
    }
    return found;
  }
  function draw(printing = false) {
    drawn = true;
    start();
    const listed = chosen();
    const shown = all || printing ? listed : listed.slice(0, MOST);
    const caption = `Items of the condition ${state.condition}`;
    $("rows-box").replaceChildren(...parts(groups(), printing).map((part) => table(part, shown, caption, printing)));
    const every = view().items.length;
    $("rows-count").textContent = `${listed.length} of ${every} items${shown.length < listed.length ? `, ${shown.length} listed` : ""}${listed.length ? "" : ": no match"}`;
    $("rows-more").hidden = shown.length === listed.length;
    $("rows-title").nextElementSibling.dataset.hash = fragment(place());
    panel(listed);
  }
  // The number that the rows are over: result file, record and command beside it.
  function panel(listed) {
    const box = $("number");
    box.hidden = !state.number;
    if (!state.number) return;
    const spec = specOf(state.number);
    const file = state.number.slice(0, state.number.indexOf(".json") + ".json".length);
    const pointer = state.number.slice(file.length);
    const record = data().records[file];
    const exact = view().items.map((_, i) => i).filter((i) => counts(spec, i));
    const sum = spec.kind === "other" || spec.arms.length === 0 ? null : summed(spec, exact);
    const check = sum === null ? "" : ` Their ${spec.kind === "sum" ? "sum" : spec.arms.length > 1 ? "mean difference" : "mean"} is ${spec.kind === "sum" ? said(sum) : fixed(sum)}.`;
    const whole = listed.length === exact.length ? "" : ` A filter shows ${listed.length} of them.`;
    const every = view().items.length;
    const over = `This number is over ${exact.length === every ? `all ${every}` : `${exact.length} of ${every}`} items: the rows below.`;
    const terms = make("dl", { class: "evidence" });
    const term = (name, ...content) => terms.append(make("div", {}, make("dt", {}, name), make("dd", {}, ...content)));
    term("result", make("code", {}, `${file}#${pointer}`));
    if (record) {
      term("its sha256", make("code", { class: "hash" }, record.sha256));
      term("record", make("code", {}, record.record));
      term("command", make("code", {}, record.command));
    } else term("record", "none: nothing says how this result was made");
    const claims = [...document.querySelectorAll("#verdict-table .from")].filter((n) => n.dataset.file === file && n.dataset.pointer === pointer);
    if (claims.length) term("claims", ...claims.flatMap((n) => [make("a", { href: `#claim=${n.dataset.claim}` }, make("code", {}, n.dataset.claim)), " "]));
    const everything = make("button", { type: "button" }, "Show all items");
    everything.addEventListener("click", () => change({ number: null }));
    box.replaceChildren(
      make("p", { class: "said" }, make("strong", {}, spec.title), " ", make("span", { class: "num" }, spec.said), copier("these rows", fragment(place()))),
      make("p", {}, `${over}${check}${whole} Open a row to read its replies and quotes.`),
      terms,
      everything,
    );
  }
  function controls() {
    const { arms, columns } = data();
    $("rows-condition").value = state.condition;
    $("rows-axis").value = state.axis;
    $("rows-words").value = state.words;
    const whole = columns.find((c) => c.name === state.axis).whole;
    const pairs = arms.flatMap((a, i) => arms.slice(i + 1).flatMap((b) => [[a, b], [b, a]]));
    const options = pairs.map(([a, b]) => make("option", { value: `${a}|${b}` }, whole ? `${a} fails, ${b} holds` : `${a} lower, ${b} higher`));
    $("rows-show").replaceChildren(make("option", { value: "" }, "all items"), ...options);
    $("rows-show").value = state.fails ? `${state.fails}|${state.holds}` : "";
  }
  function change(what, field = null) {
    Object.assign(state, what);
    all = false;
    controls();
    draw();
    visit(place(), field);
  }

  // --- downloads
  function csv() {
    const { arms, columns } = data();
    // A text that a spreadsheet would take for a formula is marked as text.
    const cell = (x) => {
      const text = x === null ? "" : String(x);
      const safe = typeof x === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
      return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const specs = columns.flatMap((column) => cellsOf(quality(column), arms));
    const exact = (x) => (x === null ? null : Number(x.toFixed(6)));
    const head = ["condition", "item", "question", "oracle_present", ...specs.map((s) => s.key), ...arms.flatMap((arm) => [`picked.${arm}`, `had_choice.${arm}`])];
    const lines = chosen().map((i) => [
      state.condition,
      view().items[i],
      questions.get(String(view().items[i])) ?? "",
      Boolean(view().oracle[i]),
      ...specs.map((s) => exact(s.value(i))),
      ...arms.flatMap((arm) => [view().arms[arm].picked[i].join(" "), view().arms[arm].picked[i].length < view().best_of]),
    ]);
    return `${[head, ...lines].map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
  }
  $("rows-csv").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    const anchor = make("a", { href: address, download: $("rows-csv").dataset.name });
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });

  // --- what the reader does
  $("rows-condition").addEventListener("input", () => change({ condition: $("rows-condition").value, number: null }));
  $("rows-axis").addEventListener("input", () => change({ axis: $("rows-axis").value }));
  $("rows-show").addEventListener("input", () => {
    const [fails, holds] = $("rows-show").value.split("|");
    change({ fails: fails || null, holds: holds ?? null });
  });
  $("rows-words").addEventListener("input", () => change({ words: $("rows-words").value.trim() }, "rows-words"));
  $("rows-form").addEventListener("submit", (event) => event.preventDefault());
  $("rows-more").addEventListener("click", () => {
    all = true;
    draw();
  });
  $("rows-box").addEventListener("click", (event) => {
    const sort = event.target.closest("button[data-sort]")?.dataset.sort;
    if (sort !== undefined) {
      change({ sort, down: state.sort === sort ? !state.down : false });
      return $("rows-box").querySelector(`[data-sort="${CSS.escape(sort)}"]`)?.focus({ preventScroll: true });
    }
    const cell = event.target.closest("td[data-arm]");
    if (!cell || event.target.closest("a")) return;
    const asked = new URLSearchParams(cell.parentElement.querySelector("th a").hash.slice(1));
    remember();
    location.hash = fragment([["item", asked.get("item")], ["arm", cell.dataset.arm], ["condition", state.condition]]);
  });
  const links = () => [...$("rows-box").querySelectorAll("tbody th a")];
  const print = matchMedia("print");
  print.addEventListener("change", () => draw(print.matches));
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(false));

  function start() {
    const { conditions, columns } = data();
    state.condition ??= Object.keys(conditions)[0];
    if ($("rows-condition").options.length) return;
    $("rows-condition").append(...Object.keys(conditions).map((name) => make("option", { value: name }, name)));
    $("rows-axis").append(...columns.filter(judged).map((c) => make("option", { value: c.name }, c.title)));
    controls();
  }
  // The table is drawn when it comes into view: the rest of the page is quicker without it.
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    if (!drawn) draw();
  }).observe($("rows"));

  return {
    show(asked) {
      start();
      const { numbers, arms, columns, conditions } = data();
      const complaints = [];
      const take = (name, word, known) => {
        const value = asked.get(name);
        if (value === null || known(value)) return value;
        complaints.push(named(word, value));
        return null;
      };
      const number = asked.get("rows") ? take("rows", "number", (key) => Object.hasOwn(numbers, key)) : null;
      const condition = take("condition", "condition", (name) => Object.hasOwn(conditions, name));
      const axis = take("axis", "axis", (name) => columns.some((c) => c.name === name && judged(c)));
      const [fails, holds] = ["fails", "holds"].map((name) => take(name, "arm", (arm) => arms.includes(arm)));
      const both = fails && holds && fails !== holds;
      Object.assign(state, {
        number,
        condition: number ? specOf(number).condition : condition ?? Object.keys(conditions)[0],
        axis: axis ?? "strict",
        fails: both ? fails : null,
        holds: both ? holds : null,
        sort: asked.get("sort"),
        down: asked.has("down"),
        words: asked.get("words") ?? "",
      });
      if (state.sort !== null && state.sort !== "item" && !groups().some((g) => g.cells.some((cell) => cell.key === state.sort))) {
        complaints.push(named("column", state.sort));
        state.sort = null;
      }
      all = false;
      controls();
      draw();
      return { wrong: complaints, target: number ? $("number") : $("rows") };
    },
    reset() {
      Object.assign(state, { number: null, condition: null, axis: "strict", fails: null, holds: null, sort: null, down: false, words: "" });
      if (!drawn) return;
      draw();
      controls();
    },
    keys: {
      j: () => along(links(), 1),
      k: () => along(links(), -1),
      "/": () => $("rows-words").focus(),
    },
  };
})();
