// --- the address: what is open is in the fragment, so that it can be shared, and Back returns to it
const fragment = (entries) => {
  const said = entries.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return `#${said.map(([name, value]) => (value === true ? name : `${name}=${encodeURIComponent(value).replaceAll("%2F", "/").replaceAll("%20", "+")}`)).join("&")}`;
};
// Where the reader was when an entry of the history was left, so that Back finds the place.
const left = new Map();
let entry = 0;
let scrolled = 0;
addEventListener("scroll", () => (scrolled = scrollY), { passive: true });
const remember = () => left.set(history.state?.entry, scrolled);
const fresh = () => ({ entry: `${performance.timeOrigin}-${++entry}` });
let typing = null;
// Writes the address of what was just opened. What is typed in one field is one step back, and written when the typing stops.
const PAUSE = 200;
let pending = null;
function visit(entries, field = null) {
  clearTimeout(pending);
  if (field === null) write(entries, null);
  else pending = setTimeout(() => write(entries, field), PAUSE);
}
function write(entries, field) {
  const hash = fragment(entries);
  if (hash === location.hash) return;
  try {
    if (field !== null && field === typing) history.replaceState(history.state, "", hash);
    else {
      remember();
      history.pushState(fresh(), "", hash);
    }
  } catch {
    return; // shown inside another page, which may leave it no address
  }
  typing = field;
  if (!$("wrong").hidden) wrong([]);
}

// Says what an address names and the page does not have.
function wrong(things) {
  $("wrong").hidden = !things.length;
  $("wrong-text").textContent = things.length ? `This address names ${things.join(" and ")}: this page does not have it.` : "";
}
const named = (name, value) => `the ${name} “${value.length > 80 ? `${value.slice(0, 80)}…` : value}”`;

// Sets a select to what an address says; returns the complaint if it has no such choice.
function choose(id, value, name) {
  const select = $(id);
  const there = [...select.options].some((option) => option.value === (value ?? ""));
  select.value = there ? value ?? "" : "";
  return there ? [] : [named(name, value)];
}

// A part of the page: the keys that name it, all that its addresses may hold, and what opens it.
const VIEWS = [
  { by: ["claim", "verdicts"], has: ["section", "verdict", "text"], show: (asked, back) => verdicts.show(asked, back) },
  { by: ["rows"], has: ["condition", "axis", "fails", "holds", "sort", "down", "words"], show: (asked) => rows.show(asked) },
  { by: ["item", "items", "arm", "condition"], has: ["k", "mark", "search"], show: (asked) => explorer.show(asked) },
];
let arrivals = 0;
async function arrive() {
  const turn = ++arrivals;
  clearTimeout(pending);
  const back = history.state?.entry !== undefined;
  const y = left.get(history.state?.entry);
  if (!back) history.replaceState(fresh(), "");
  const asked = new URLSearchParams(location.hash.slice(1));
  const view = VIEWS.find(({ by }) => by.some((name) => asked.has(name)));
  typing = null;
  let things = [];
  let target = null;
  if (view) {
    const shown = await view.show(asked, back);
    things = shown.wrong.concat([...asked.keys()].filter((name) => ![...view.by, ...view.has].includes(name)).map((name) => named("key", name)));
    target = shown.target;
  } else if (location.hash.length > 1) {
    const id = [...asked.keys()].join("&");
    if (!$(id)) things = [named("place", id)];
  } else {
    for (const part of [verdicts, rows, explorer]) part.reset();
  }
  if (turn !== arrivals) return;
  explorer.begin();
  wrong(things);
  if (!back) target?.scrollIntoView({ block: target.dataset.block ?? "start" });
  else if (y !== undefined) scrollTo(0, y);
}
addEventListener("hashchange", arrive);
document.addEventListener("click", (event) => event.target.closest?.('a[href^="#"]') && remember(), true);
$("wrong-close").addEventListener("click", () => wrong([]));

// --- links to copy
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button.copy");
  if (!button) return;
  const link = location.href.split("#")[0] + (button.dataset.hash ?? location.hash);
  let done = true;
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    // Without leave to use the clipboard, the old way: a selected text that the browser copies.
    const field = make("textarea", { class: "unseen" });
    field.value = link;
    document.body.append(field);
    field.select();
    done = document.execCommand("copy");
    field.remove();
    button.focus({ preventScroll: true });
  }
  $("said").textContent = done ? "Link copied" : `The browser does not let this page copy. The link: ${link}`;
  $("said").classList.add("shown");
  setTimeout(() => $("said").classList.remove("shown"), done ? 1500 : 15000);
});

// --- keys act in the part of the page that the reader is in: where the focus is, if it can be seen, else what is in view
function here() {
  const seen = (element) => {
    const { top, bottom } = element.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  };
  const active = document.activeElement;
  const section = active && active !== document.body && seen(active) ? active.closest("section") : null;
  if (section) return section.id;
  const middle = innerHeight * 0.4;
  return [...document.querySelectorAll("main > section")].find((s) => s.getBoundingClientRect().top <= middle && s.getBoundingClientRect().bottom > middle)?.id;
}
// Moves the focus to the next or the previous of some elements.
function along(elements, by) {
  const now = elements.indexOf(document.activeElement);
  const inside = elements.findIndex((element) => element.closest("tr, tbody")?.contains(document.activeElement));
  const from = now >= 0 ? now : inside;
  elements[Math.min(elements.length - 1, Math.max(0, from + by))]?.focus();
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const keys = { "/": explorer.keys["/"], ...{ verdicts, rows, items: explorer }[here()]?.keys, "?": () => $("help").showModal() };
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});

arrive();
