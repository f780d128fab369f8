// --- items
const explorer = (() => {
  const items = new Map(data.items.map((item) => [String(item.id), item]));
  const order = data.items.map((item) => String(item.id));
  const full = (item) => Boolean(item.conditions);
  const at = { item: null, arm: null, condition: null, k: null };
  let visible = order;

  function searchable(item) {
    if (item.searched === undefined) {
      const parts = [`${item.id} ${item.name ?? ""} ${item.question} ${item.reference ?? ""}`];
      for (const view of Object.values(item.conditions ?? {})) {
        for (const document of view.documents) parts.push(document.id, document.text);
        for (const rollouts of Object.values(view.arms)) for (const rollout of rollouts) parts.push(rollout.text);
      }
      item.searched = parts.join("\n").toLowerCase();
    }
    return item.searched;
  }
  // --- looking for near misses, refusals and the like: `places` are the replies of an item that bear the mark, in the order of the tabs.
  function places(id) {
    const replies = [];
    for (const [condition, arms] of Object.entries(items.get(id).marks[$("item-mark").value] ?? {}))
      for (const [arm, ks] of Object.entries(arms)) for (const k of ks) replies.push({ item: id, condition, arm, k });
    return replies;
  }
  const open = (id) => go(places(id)[0] ?? { item: id, k: null });
  function next() {
    if (!$("item-mark").value) return;
    const found = places(at.item);
    const now = found.findIndex((p) => p.condition === at.condition && p.arm === at.arm && p.k === at.k);
    if (visible.includes(at.item) && now + 1 < found.length) return go(found[now + 1]);
    const after = visible[visible.indexOf(at.item) + 1] ?? visible[0];
    if (after !== undefined) return open(after);
  }

  const ROWS = 300;
  function list() {
    const wanted = $("item-search").value.trim().toLowerCase();
    const mark = $("item-mark").value;
    visible = order.filter((id) => (!wanted || searchable(items.get(id)).includes(wanted)) && (!mark || items.get(id).marks[mark]));
    $("item-next").hidden = !mark || !visible.length;
    // Shows a long list only around the open item: thousands of buttons help nobody.
    const from = Math.max(0, Math.min(visible.indexOf(at.item) - ROWS / 2, visible.length - ROWS));
    const rows = visible.slice(from, from + ROWS).map((id) => {
      const question = items.get(id).question;
      const text = question.length > 110 ? `${question.slice(0, 110)}…` : question;
      const button = make("button", { type: "button", "data-id": id, "aria-current": id === at.item ? "true" : null });
      button.append(plain(String(items.get(id).name ?? id)), " · ", plain(text));
      if (mark) button.append(make("span", { class: "quiet" }, ` ${places(id).length}`));
      return make("li", {}, button);
    });
    $("item-list").replaceChildren(...(rows.length ? rows : [make("li", { class: "quiet" }, "No match.")]));
    const around = visible.length > ROWS ? `, ${from + 1} to ${from + rows.length} listed` : "";
    const replies = mark ? `, ${visible.reduce((sum, id) => sum + places(id).length, 0)} replies` : "";
    $("item-count").textContent = `${visible.length} of ${order.length} items${replies}${around}${rows.length ? "" : ": no match"}`;
    reveal();
  }
  // Brings the open item into the list's view without moving the page.
  function reveal() {
    const box = $("item-list");
    const button = box.querySelector("[aria-current]");
    if (!button) return;
    if (button.offsetTop < box.scrollTop) box.scrollTop = button.offsetTop;
    else if (button.offsetTop + button.offsetHeight > box.scrollTop + box.clientHeight)
      box.scrollTop = button.offsetTop + button.offsetHeight - box.clientHeight;
  }

  const waiting = new Map();
  const loading = new Map();
  globalThis.cardproofItem = (item) => {
    const id = String(item.id);
    items.set(id, { ...items.get(id), ...item });
    waiting.get(id)?.();
    waiting.delete(id);
  };
  function load(id) {
    const item = items.get(id);
    if (full(item)) return Promise.resolve();
    if (!loading.has(id)) {
      const loaded = new Promise((resolve, reject) => {
        waiting.set(id, resolve);
        const script = make("script", { src: item.file });
        script.onerror = () => reject(new Error(`${item.file} is missing beside this page`));
        document.head.append(script);
      });
      loading.set(id, loaded.finally(() => loading.delete(id)));
    }
    return loading.get(id);
  }

  // A few at a time: each is a file, and all of them are many megabytes.
  async function loadAll() {
    const missing = order.filter((id) => !full(items.get(id)));
    for (let i = 0; i < missing.length; i += 8) {
      $("item-count").textContent = `loading … ${i} of ${missing.length}`;
      await Promise.all(missing.slice(i, i + 8).map(load));
    }
    for (const item of items.values()) delete item.searched;
    list();
  }
  $("search-all")?.addEventListener("change", (event) => {
    event.target.disabled = true;
    loadAll().catch((error) => ($("item-count").textContent = `${error.message}.`));
  });

  const value = (x) => (x === null || x === undefined ? "–" : typeof x === "number" ? x.toFixed(3) : String(x));
  const NAMES = { rouge_l: "ROUGE-L", gold_rouge: "gold ROUGE-L", support: "verifier support" };
  const axis = (name) => NAMES[name] ?? words(name);
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
    const view = item.conditions[at.condition];
    const arms = Object.keys(view.arms);
    if (!arms.includes(at.arm)) at.arm = arms.at(-1);
    const rollouts = view.arms[at.arm] ?? [];
    const best = rollouts.find((r) => r.rank === 1);
    if (!rollouts.some((r) => r.k === at.k)) at.k = best?.k ?? null;
    const rollout = rollouts.find((r) => r.k === at.k);
    const quotes = rollout?.quotes ?? [];

    const article = $("item");
    const parts = [
      make("div", { class: "asked" }, make("p", { class: "question", dir: "auto" }, plain(item.question)), copier("this reply", fragment(place()))),
      make("details", {}, make("summary", {}, "Reference answer, never shown to the model"), make("p", { class: "text", dir: "auto" }, plain(item.reference))),
      tabs("condition", conditions, at.condition, (name) => go({ condition: name, k: null })),
      tabs("arm", arms, at.arm, (name) => go({ arm: name, k: null })),
      tabs("rollout", rollouts.map((r) => r.k), at.k, (k) => go({ k }), (button, k) => {
        const r = rollouts.find((x) => x.k === k);
        if (r.picked > 0) button.classList.add("picked");
        button.append(`${r.picked > 0 ? "★ " : ""}${k} · ${value(r.scores.composite)}`);
        const kinds = make("span", { class: "kinds", "aria-hidden": "true" });
        for (const quote of r.quotes) kinds.append(make("span", { class: quote.kind }));
        if (r.quotes.length) button.append(kinds);
        if (r.refusal) button.append(" refusal");
      }),
      make("p", { class: "quiet" }, "★ picked; several picked ones tie and count in equal parts. The number after the dot is the composite; each square is a quote, in the colour of its kind."),
    ];
    const left = make("div", {}, make("h3", {}, "Documents, as shown"));
    if (!view.oracle_present) left.append(make("p", { class: "quiet" }, `The oracle passage ${view.oracle} was left out: a refusal is right here.`));
    for (const source of view.documents) {
      const spans = quotes.filter((q) => q.doc === source.id && q.span).map((q) => [...q.span, q.kind]);
      left.append(
        make("div", {}, make("code", {}, source.id), make("span", { class: `role ${source.role}` }, source.role)),
        make("p", { class: "text", dir: "auto", tabindex: "0" }, marked(source.text, spans)),
      );
    }
    const right = make("div", {}, make("h3", {}, "Reply"));
    if (!rollout) right.append(make("p", {}, "No rollouts."));
    else right.append(...reply(rollout, rollouts, { ...view, factors: data.factors[at.condition] }));
    article.replaceChildren(...parts, make("div", { class: "panes" }, left, right));
    document.querySelectorAll("#item-list [aria-current]").forEach((b) => b.removeAttribute("aria-current"));
    const button = document.querySelector(`#item-list [data-id="${CSS.escape(at.item)}"]`);
    if (!button && visible.includes(at.item)) return list();
    button?.setAttribute("aria-current", "true");
    reveal();
  }

  function reply(rollout, rollouts, view) {
    const spans = rollout.quotes.filter((q) => q.at).map((q) => [...q.at, q.kind]);
    const factors = view.factors.map((name) => `${axis(name)} ${value(rollout.scores[name])}`);
    const product = factors.length > 1 ? `Its composite: ${factors.join(" × ")} = ${value(rollout.scores.composite)}.` : `Its composite is ${factors[0]}.`;
    const composite = rollout.refusal ? "A refusal gets no composite." : product;
    const ties = rollouts.filter((r) => r.picked > 0).length;
    const tied = ties > 1 ? `, as ${ties} are; each counts in equal part` : "";
    const picked = rollout.picked > 0
      ? `Picked: the highest composite of ${rollouts.length}${tied}.`
      : `Not picked: rank ${rollout.rank} of ${rollouts.length} by composite.`;
    const notes = [picked, composite, `${rollout.tokens} tokens${rollout.finish === "length" ? ", cut at the limit" : ""}.`];
    if (rollout.refusal) notes.push(view.oracle_present ? "A refusal, though the oracle passage was shown." : "A refusal, and the oracle passage was not shown.");
    if (rollout.defects.length) notes.push(`Departs from the contract: ${rollout.defects.map(words).join(", ")}.`);
    const out = [make("p", { class: "text", dir: "auto", tabindex: "0" }, marked(rollout.text, spans)), make("p", { class: "quiet" }, notes.join(" "))];
    const table = make("table", { class: "scores" });
    const body = make("tbody");
    for (const [name, score] of Object.entries(rollout.scores)) body.append(make("tr", {}, make("th", { scope: "row" }, axis(name)), make("td", { class: "num" }, value(score))));
    table.append(body);
    out.push(make("h3", {}, "Quotes"));
    const entries = rollout.quotes.map((quote) => {
      const entry = make("li", {}, make("mark", { class: quote.kind }, words(quote.kind)), ` cites ${quote.cited === null ? "nothing" : ""}`);
      if (quote.cited !== null) entry.append(make("code", {}, plain(quote.cited)));
      if (quote.kind === "misattributed" || (quote.kind === "near_miss" && quote.doc !== quote.cited)) entry.append(", is in ", make("code", {}, quote.doc));
      if (quote.kind === "near_miss") entry.append(`; repaired by ${quote.steps.length ? quote.steps.join(", ") : "Unicode normalisation alone"}`);
      if (quote.diff) {
        entry.append(make("p", { class: "quiet" }, "Letter by letter: ", make("del", {}, "in the quote"), " ", make("ins", {}, "in the document")));
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
    if (push) visit(place());
  }
  const place = () => [...Object.entries(at), ["mark", $("item-mark").value], ["search", $("item-search").value.trim()]];
  const step = (names, current, by = 1) => names[(names.indexOf(current) + by + names.length) % names.length];
  const shown = () => (full(items.get(at.item) ?? {}) ? items.get(at.item) : null);
  const within = (by) => visible[Math.min(visible.length - 1, Math.max(0, visible.indexOf(at.item) + by))];

  $("item-list").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) open(button.dataset.id);
  });
  $("item-mark").addEventListener("input", () => {
    list();
    if ($("item-mark").value && visible.length) open(visible.includes(at.item) ? at.item : visible[0]);
    else visit(place());
  });
  $("item-next").addEventListener("click", next);
  $("item-search").addEventListener("input", () => {
    list();
    visit(place(), "item-search");
  });

  function turn(by) {
    const ks = shown()?.conditions[at.condition].arms[at.arm]?.map((r) => r.k) ?? [];
    if (ks.length) go({ k: step(ks, at.k, by) });
  }
  return {
    async show(asked) {
      const complaints = choose("item-mark", asked.get("mark"), "kind of reply");
      $("item-search").value = asked.get("search") ?? "";
      const id = asked.get("item");
      if (id !== null && !items.has(id)) complaints.push(named("item", id));
      const wish = { item: items.has(id) ? id : at.item ?? order[0] ?? null };
      if (!asked.has("items")) Object.assign(wish, { arm: asked.get("arm"), condition: asked.get("condition"), k: asked.has("k") ? Number(asked.get("k")) : null });
      at.item = wish.item;
      list();
      await go(wish, false);
      if (shown()) {
        for (const [name, word] of [["arm", "arm"], ["condition", "condition"], ["k", "rollout"]])
          if (asked.has(name) && asked.get(name) !== String(at[name])) complaints.push(named(word, asked.get(name)));
      }
      return { wrong: complaints, target: matchMedia("(max-width: 48rem)").matches ? $("item") : document.querySelector(".explorer") };
    },
    // Shows the first item where none is shown yet.
    begin() {
      if (at.item !== null) return;
      at.item = order[0] ?? null;
      list();
      go({}, false);
    },
    reset() {
      $("item-mark").value = "";
      $("item-search").value = "";
      Object.assign(at, { item: order[0] ?? null, arm: null, condition: null, k: null });
      list();
      return go({}, false);
    },
    keys: {
      j: () => open(within(1) ?? at.item),
      k: () => open(within(-1) ?? at.item),
      n: () => turn(1),
      p: () => turn(-1),
      m: next,
      a: () => shown() && go({ arm: step(Object.keys(shown().conditions[at.condition].arms), at.arm), k: null }),
      c: () => shown() && go({ condition: step(Object.keys(shown().conditions), at.condition), k: null }),
      "/": () => $("item-search").focus(),
    },
  };
})();
