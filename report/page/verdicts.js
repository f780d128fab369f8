// --- verdicts: filters, and the evidence behind a row
const verdicts = (() => {
  const bodies = [...document.querySelectorAll("#verdict-table tbody[id]")];
  const counts = [...document.querySelectorAll(".counts button")];
  const FILTERS = ["section", "verdict", "text"];
  const filters = () => FILTERS.map((name) => [name, $(`filter-${name}`).value.trim()]);
  const shown = () => bodies.filter((body) => !body.hidden);
  let opened = null;

  function filter() {
    const { section, verdict, text } = Object.fromEntries(filters());
    const wanted = text.toLowerCase();
    for (const body of bodies) {
      body.hidden = !((!section || body.dataset.section === section) && (!verdict || body.dataset.verdict === verdict) &&
        (!wanted || [...body.rows].some((row) => row.textContent.toLowerCase().includes(wanted))));
    }
    const count = shown().length;
    $("filter-none").hidden = count > 0;
    $("filter-count").textContent = `${count} of ${bodies.length} claims${count ? "" : ": no match"}`;
    for (const button of counts) button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
  }
  function clear() {
    for (const name of FILTERS) $(`filter-${name}`).value = "";
    filter();
  }
  function unfold(id, open) {
    const button = $(`claim-${id}`).querySelector("button[aria-controls]");
    button.setAttribute("aria-expanded", open);
    $(button.getAttribute("aria-controls")).hidden = !open;
    opened = open ? id : null;
    return button;
  }
  for (const button of counts) {
    button.addEventListener("click", () => {
      const chosen = $("filter-verdict");
      chosen.value = chosen.value === button.dataset.verdict ? "" : button.dataset.verdict;
      chosen.dispatchEvent(new Event("input"));
    });
  }
  for (const name of FILTERS) {
    $(`filter-${name}`).addEventListener("input", () => {
      filter();
      visit([["verdicts", true], ...filters()], name === "text" ? "filter-text" : null);
    });
  }
  $("verdict-filters").addEventListener("submit", (event) => event.preventDefault());
  $("verdict-table").addEventListener("click", (event) => {
    const button = event.target.closest("button[aria-controls]");
    if (!button) return;
    const id = button.closest("tbody").id.slice("claim-".length);
    const open = button.getAttribute("aria-expanded") !== "true";
    unfold(id, open);
    visit([...(open ? [["claim", id]] : [["verdicts", true]]), ...filters()]);
  });

  return {
    show(asked, back) {
      const complaints = [...choose("filter-section", asked.get("section"), "section"), ...choose("filter-verdict", asked.get("verdict"), "verdict")];
      $("filter-text").value = asked.get("text") ?? "";
      filter();
      const id = asked.get("claim");
      const body = id === null ? null : bodies.find((b) => b.id === `claim-${id}`);
      // Back closes what it leaves; a link leaves open what is open.
      if (back && opened !== null && opened !== id) unfold(opened, false);
      if (!body) return { wrong: id === null ? complaints : [named("claim", id), ...complaints], target: $("verdicts") };
      if (body.hidden) clear();
      unfold(id, true).focus({ preventScroll: true });
      body.dataset.block = "center";
      return { wrong: complaints, target: body };
    },
    reset() {
      if (opened !== null) unfold(opened, false);
      clear();
    },
    keys: {
      j: () => along(shown().map((body) => body.querySelector("button[aria-controls]")), 1),
      k: () => along(shown().map((body) => body.querySelector("button[aria-controls]")), -1),
      "/": () => $("filter-text").focus(),
    },
  };
})();
