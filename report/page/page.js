"use strict";
// The reviewer's page: filters the verdicts and shows the items. Whatever a model wrote reaches the page as text alone.
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const words = (name) => name.replaceAll("_", " ");

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== false) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  // Characters that are not seen, or turn the text around them, are shown by their number.
  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff\ufeff\u{e0000}-\u{e007f}]/u;
  function plain(text) {
    const parts = document.createDocumentFragment();
    let run = "";
    for (const character of text) {
      if (HIDDEN.test(character)) {
        parts.append(run, make("span", { class: "control" }, `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`));
        run = "";
      } else run += character;
    }
    parts.append(run);
    return parts;
  }

  // `spans`: [start, end, kind]; where they overlap, the first one shows.
  function marked(text, spans) {
    const out = document.createDocumentFragment();
    const edges = [...new Set([0, text.length, ...spans.flatMap(([start, end]) => [start, end])])].sort((a, b) => a - b);
    for (let i = 0; i + 1 < edges.length; i++) {
      const piece = text.slice(edges[i], edges[i + 1]);
      const span = spans.find(([start, end]) => start <= edges[i] && edges[i + 1] <= end);
      out.append(span ? make("mark", { class: span[2], title: words(span[2]) }, plain(piece)) : plain(piece));
    }
    return out;
  }

  // --- verdicts
  const bodies = [...document.querySelectorAll("#verdict-table tbody")];
  function filter() {
    const [section, verdict, text] = ["section", "verdict", "text"].map((name) => $(`filter-${name}`).value);
    const wanted = text.trim().toLowerCase();
    let shown = 0;
    for (const body of bodies) {
      const fits = (!section || body.dataset.section === section) && (!verdict || body.dataset.verdict === verdict) &&
        (!wanted || body.rows[0].textContent.toLowerCase().includes(wanted) || body.rows[1].textContent.toLowerCase().includes(wanted));
      body.hidden = !fits;
      shown += fits;
    }
    $("filter-count").textContent = `${shown} of ${bodies.length} claims`;
  }
  for (const name of ["section", "verdict", "text"]) $(`filter-${name}`).addEventListener("input", filter);
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  $("verdict-table").addEventListener("click", (event) => {
    const button = event.target.closest("button[aria-controls]");
    if (!button) return;
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", open);
    $(button.getAttribute("aria-controls")).hidden = !open;
  });
  filter();

  // --- items
  const items = new Map(data.items.map((item) => [String(item.id), item]));
  const order = data.items.map((item) => String(item.id));
  const full = (item) => Boolean(item.conditions);
  const at = { item: null, arm: null, condition: null, k: null };
  let visible = order;

  function searchable(item) {
    if (item.searched === undefined) {
      const parts = [`${item.id} ${item.question} ${item.reference ?? ""}`];
      for (const shown of Object.values(item.conditions ?? {})) {
        for (const document of shown.documents) parts.push(document.id, document.text);
        for (const rollouts of Object.values(shown.arms)) for (const rollout of rollouts) parts.push(rollout.text);
      }
      item.searched = parts.join("\n").toLowerCase();
    }
    return item.searched;
  }
  const ROWS = 300;
  function list() {
    const wanted = $("item-search").value.trim().toLowerCase();
    visible = wanted ? order.filter((id) => searchable(items.get(id)).includes(wanted)) : order;
    // A long list is shown around the open item: thousands of buttons help nobody.
    const from = Math.max(0, Math.min(visible.indexOf(at.item) - ROWS / 2, visible.length - ROWS));
    const rows = visible.slice(from, from + ROWS).map((id) => {
      const question = items.get(id).question;
      const text = question.length > 110 ? `${question.slice(0, 110)}…` : question;
      const button = make("button", { type: "button", "data-id": id, "aria-current": id === at.item ? "true" : null });
      button.append(`${id} · `, plain(text));
      return make("li", {}, button);
    });
    $("item-list").replaceChildren(...rows);
    const around = visible.length > ROWS ? `, ${from + 1} to ${from + rows.length} listed` : "";
    $("item-count").textContent = `${visible.length} of ${order.length} items${around}`;
  }

  const waiting = new Map();
  globalThis.cardproofItem = (item) => {
    const id = String(item.id);
    items.set(id, { ...items.get(id), ...item });
    waiting.get(id)?.();
    waiting.delete(id);
  };
  function load(id) {
    const item = items.get(id);
    if (full(item)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      waiting.set(id, resolve);
      const script = make("script", { src: item.file });
      script.onerror = () => reject(new Error(`${item.file} is missing beside this page`));
      document.head.append(script);
    });
  }

  const value = (x) => (x === null || x === undefined ? "–" : typeof x === "number" ? x.toFixed(3) : String(x));
  function tabs(label, names, current, choose, draw = (button, name) => button.append(words(String(name)))) {
    const row = make("div", { class: "tabs", role: "group", "aria-label": label }, make("span", {}, label));
    for (const name of names) {
      const button = make("button", { type: "button", "aria-pressed": String(name === current) });
      draw(button, name);
      button.addEventListener("click", () => choose(name));
      row.append(button);
    }
    return row;
  }

  function show() {
    const item = items.get(at.item);
    const conditions = Object.keys(item.conditions);
    if (!conditions.includes(at.condition)) at.condition = conditions[0];
    const shown = item.conditions[at.condition];
    const arms = Object.keys(shown.arms);
    if (!arms.includes(at.arm)) at.arm = arms.at(-1);
    const rollouts = shown.arms[at.arm] ?? [];
    const best = rollouts.find((r) => r.rank === 1);
    if (!rollouts.some((r) => r.k === at.k)) at.k = best?.k ?? null;
    const rollout = rollouts.find((r) => r.k === at.k);
    const quotes = rollout?.quotes ?? [];

    const article = $("item");
    const parts = [
      make("p", { class: "question", dir: "auto" }, plain(item.question)),
      make("details", {}, make("summary", {}, "Reference answer, never shown to the model"), make("p", { class: "text", dir: "auto" }, plain(item.reference))),
      tabs("condition", conditions, at.condition, (name) => go({ condition: name, k: null })),
      tabs("arm", arms, at.arm, (name) => go({ arm: name, k: null })),
      tabs("rollout", rollouts.map((r) => r.k), at.k, (k) => go({ k }), (button, k) => {
        const r = rollouts.find((x) => x.k === k);
        if (r.rank === 1) button.classList.add("picked");
        button.append(`${r.rank === 1 ? "★ " : ""}${k} · ${value(r.scores.composite)}`);
      }),
    ];
    const left = make("div", {}, make("h3", {}, "Documents, as shown"));
    if (!shown.oracle_present) left.append(make("p", { class: "quiet" }, `The oracle passage ${shown.oracle} was left out: a refusal is right here.`));
    for (const source of shown.documents) {
      const spans = quotes.filter((q) => q.doc === source.id && q.span).map((q) => [...q.span, q.kind]);
      left.append(
        make("div", {}, make("code", {}, source.id), make("span", { class: `role ${source.role}` }, source.role)),
        make("p", { class: "text", dir: "auto", tabindex: "0" }, marked(source.text, spans)),
      );
    }
    const right = make("div", {}, make("h3", {}, "Reply"));
    if (!rollout) right.append(make("p", {}, "No rollouts."));
    else right.append(...reply(rollout, rollouts, shown));
    article.replaceChildren(...parts, make("div", { class: "panes" }, left, right));
    document.querySelectorAll("#item-list [aria-current]").forEach((b) => b.removeAttribute("aria-current"));
    const button = document.querySelector(`#item-list [data-id="${CSS.escape(at.item)}"]`);
    button?.setAttribute("aria-current", "true");
    button?.scrollIntoView({ block: "nearest" });
  }

  function reply(rollout, rollouts, shown) {
    const spans = rollout.quotes.filter((q) => q.at).map((q) => [...q.at, q.kind]);
    const picked = rollout.rank === 1
      ? `Picked: the highest composite of ${rollouts.length}${rollouts.some((r) => r !== rollout && r.scores.composite === rollout.scores.composite) ? ", the first of equals" : ""}.`
      : `Not picked: rank ${rollout.rank} of ${rollouts.length} by composite.`;
    const notes = [picked, `${rollout.tokens} tokens${rollout.finish === "length" ? ", cut at the limit" : ""}.`];
    if (rollout.refusal) notes.push(shown.oracle_present ? "A refusal, though the oracle passage was shown." : "A refusal, with no oracle passage shown.");
    if (rollout.defects.length) notes.push(`Departs from the contract: ${rollout.defects.map(words).join(", ")}.`);
    const out = [make("p", { class: "text", dir: "auto", tabindex: "0" }, marked(rollout.text, spans)), make("p", { class: "quiet" }, notes.join(" "))];
    const table = make("table", { class: "scores" });
    const body = make("tbody");
    for (const [name, score] of Object.entries(rollout.scores)) body.append(make("tr", {}, make("th", { scope: "row" }, words(name)), make("td", { class: "num" }, value(score))));
    table.append(body);
    out.push(make("h3", {}, "Quotes"));
    const entries = rollout.quotes.map((quote) => {
      const entry = make("li", {}, make("mark", { class: quote.kind }, words(quote.kind)), ` cites ${quote.cited === null ? "nothing" : ""}`);
      if (quote.cited !== null) entry.append(make("code", {}, plain(quote.cited)));
      if (quote.kind === "misattributed" || (quote.kind === "near_miss" && quote.doc !== quote.cited)) entry.append(", stands in ", make("code", {}, quote.doc));
      if (quote.kind === "near_miss") entry.append(`; repaired by ${quote.steps.length ? quote.steps.join(", ") : "Unicode normalisation alone"}`);
      if (quote.diff) {
        const change = make("p", { class: "change", dir: "auto" });
        for (const [operation, ours, theirs] of quote.diff) {
          if (operation === "equal") change.append(plain(ours));
          else {
            if (ours) change.append(make("del", { title: "in the quote" }, spaces(ours)));
            if (theirs) change.append(make("ins", { title: "in the document" }, spaces(theirs)));
          }
        }
        entry.append(change);
      } else entry.append(make("p", { dir: "auto" }, plain(quote.text)));
      return entry;
    });
    out.push(entries.length ? make("ul", { class: "quotes" }, ...entries) : make("p", { class: "quiet" }, "None."), make("h3", {}, "Scores"), table);
    return out;
  }
  // An altered space or line end has no shape of its own.
  const spaces = (text) => plain(text.replaceAll("\n", "⏎\n").replaceAll(" ", "·"));

  async function go(change, push = true) {
    Object.assign(at, change);
    if (!items.has(at.item)) return;
    try {
      await load(at.item);
    } catch (error) {
      $("item").replaceChildren(make("p", { class: "banner broken" }, `${error.message}.`));
      return;
    }
    show();
    if (push) {
      const hash = new URLSearchParams(Object.entries(at).filter(([, v]) => v !== null));
      history.replaceState(null, "", `#${hash}`);
    }
  }
  function fromHash() {
    const given = new URLSearchParams(location.hash.slice(1));
    const id = given.get("item");
    if (id === null || !items.has(id)) return false;
    const k = given.get("k");
    at.item = id;
    list();
    go({ arm: given.get("arm"), condition: given.get("condition"), k: k === null ? null : Number(k) }, false).then(() => $("items").scrollIntoView());
    return true;
  }
  const step = (names, current, by = 1) => names[(names.indexOf(current) + by + names.length) % names.length];

  $("item-list").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) go({ item: button.dataset.id, k: null });
  });
  $("item-search").addEventListener("input", list);
  addEventListener("hashchange", fromHash);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const item = items.get(at.item);
    const shown = item && full(item) ? item.conditions[at.condition] : null;
    const ks = shown?.arms[at.arm]?.map((r) => r.k) ?? [];
    const within = (by) => visible[Math.min(visible.length - 1, Math.max(0, visible.indexOf(at.item) + by))];
    const keys = {
      j: () => go({ item: within(1) ?? at.item, k: null }),
      k: () => go({ item: within(-1) ?? at.item, k: null }),
      n: () => ks.length && go({ k: step(ks, at.k) }),
      p: () => ks.length && go({ k: step(ks, at.k, -1) }),
      a: () => shown && go({ arm: step(Object.keys(shown.arms), at.arm), k: null }),
      c: () => item && full(item) && go({ condition: step(Object.keys(item.conditions), at.condition), k: null }),
      "/": () => $("item-search").focus(),
      "?": () => $("help").showModal(),
    };
    if (keys[event.key] && !$("help").open) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  list();
  if (!fromHash() && order.length) {
    at.item = order[0];
    go({}, false);
  }
})();
