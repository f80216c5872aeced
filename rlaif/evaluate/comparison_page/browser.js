// The disagreement browser: a list of which only the visible rows exist, filters, keys, and all of it in the address.

const form = document.getElementById("filters");
const list = document.getElementById("list");
const rows = document.getElementById("rows");
const pane = document.getElementById("pane");
const count = document.getElementById("count");
const help = document.getElementById("help");
const SPARE = 6; // rows beyond the visible ones, so that scrolling shows no gap
const controls = [...form.elements].filter((control) => control.name);
const first = state(); // as the file has them: what need not stand in the address

const pairs = new Pairs(JSON.parse(document.getElementById("index").textContent), document.getElementById("texts").textContent);
document.getElementById("texts").remove();

let chosen = { places: [], judge: [], against: [] };
let current = -1; // place in chosen.places
let rowHeight = 0;
let waiting = 0; // for the address to be written

// --- the state: what the controls say, and which pair is read

function state() {
  return Object.fromEntries(controls.map((one) => [one.name, one.type === "checkbox" ? (one.checked ? "on" : "off") : one.value]));
}

function setState(wanted) {
  for (const control of controls) {
    const value = wanted.get(control.name) ?? first[control.name];
    if (control.type === "checkbox") control.checked = value === "on";
    else control.value = value;
    if (control.tagName === "SELECT" && control.selectedIndex < 0) control.value = first[control.name];
  }
}

function address() {
  const now = state();
  const told = Object.entries(now).filter(([name, value]) => value !== first[name]);
  const pair = current < 0 ? [] : [["pair", pairs.index.ids[chosen.places[current]].slice(0, 16)]];
  return `#${new URLSearchParams([...told, ...pair])}`;
}

// Not at once: a browser refuses a page that changes its address a hundred times in half a minute.
function remember() {
  clearTimeout(waiting);
  waiting = setTimeout(() => history.replaceState(null, "", address()), 300);
}

// From the address to the page. A link of the report, or of a colleague, arrives here.
function restore() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  setState(wanted);
  filter(wanted.get("pair") ?? "");
}

// --- the list

function filter(pair = "") {
  const start = performance.now();
  chosen = { ...pairs.select(state()), pairs, names: namesOf("judge", "against") };
  count.textContent = `${chosen.places.length.toLocaleString("en")} of ${pairs.count.toLocaleString("en")} pairs`;
  list.hidden = pane.hidden = chosen.places.length === 0;
  list.scrollTop = 0;
  rows.replaceChildren();
  rowHeight ||= measureRow();
  rows.style.height = `${chosen.places.length * rowHeight}px`;
  const again = pair ? chosen.places.findIndex((place) => pairs.index.ids[place].startsWith(pair)) : 0;
  show(Math.max(0, again));
  performance.measure("filter", { start });
}

function namesOf(...controls) {
  return controls.map((name) => form.elements[name].selectedOptions[0].textContent);
}

function measureRow() {
  const row = make("div", { className: "row" }, make("span", {}, "x"), make("span", {}, "x"));
  rows.append(row);
  const { height } = row.getBoundingClientRect();
  row.remove();
  return height;
}

function draw() {
  const from = Math.max(0, Math.floor(list.scrollTop / rowHeight) - SPARE);
  const to = Math.min(chosen.places.length, Math.ceil((list.scrollTop + list.clientHeight) / rowHeight) + SPARE);
  const wanted = new Set(current < 0 ? [] : [current]); // or the list would name an active row that is not there
  for (let number = from; number < to; number++) wanted.add(number);
  const held = new Map([...rows.children].map((row) => [Number(row.dataset.number), row]));
  rows.replaceChildren(...[...wanted].sort((a, b) => a - b).map((number) => held.get(number) ?? rowOf(number)));
  for (const row of rows.children) row.setAttribute("aria-selected", String(Number(row.dataset.number) === current));
  if (current >= 0) list.setAttribute("aria-activedescendant", `row-${current}`);
  else list.removeAttribute("aria-activedescendant");
}

function rowOf(number) {
  const place = chosen.places[number];
  const row = make("div", { className: "row", id: `row-${number}`, role: "option" });
  row.dataset.number = number;
  row.setAttribute("aria-posinset", number + 1);
  row.setAttribute("aria-setsize", chosen.places.length);
  row.style.top = `${number * rowHeight}px`;
  const told = [named(chosen.judge[place]), named(chosen.against[place])].join(" against ");
  const tags = pairs.index.tags_of[place].map((tag) => pairs.index.tags[tag]);
  row.append(make("span", { dir: "auto" }, pairs.head(place).slice(0, 200)), make("span", { className: "about" }, [told, ...tags].join(" · ")));
  return row;
}

// "answer 1 (93 %)": what a value names, and how surely.
function named(value) {
  if (value !== value) return "–";
  const side = pairs.side(value);
  return side ? `answer ${side > 0 ? 1 : 2} (${Math.round(100 * confidence(value))} %)` : "neither";
}

// --- reading

function show(number) {
  current = Math.max(-1, Math.min(number, chosen.places.length - 1));
  if (current >= 0) reveal();
  draw();
  read();
  remember();
}

function reveal() {
  const top = current * rowHeight;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + rowHeight > list.scrollTop + list.clientHeight) list.scrollTop = top + rowHeight - list.clientHeight;
}

function read() {
  if (current < 0) return pane.replaceChildren();
  const place = chosen.places[current];
  const heading = make("h3", { id: "pane-title" }, `Pair ${(current + 1).toLocaleString("en")} of ${chosen.places.length.toLocaleString("en")}`);
  const relation = make("p", { className: "sentence" }, sentence(place));
  pane.replaceChildren(...reading(pairs, place, chosen, heading, state().diff === "on"));
  heading.after(relation);
  pane.scrollTop = 0;
}

function sentence(place) {
  const [own, theirs] = [chosen.judge[place], chosen.against[place]];
  const [name, other] = chosen.names;
  return `${name} ${saying(own, pairs.side(own))}; ${other}: ${saying(theirs, pairs.side(theirs, state().against ? undefined : 0))}.`;
}

// --- what a person does

const page = () => Math.max(1, Math.floor(list.clientHeight / rowHeight) - 1);
const MOVES = {
  ArrowDown: () => current + 1, ArrowUp: () => current - 1, PageDown: () => current + page(), PageUp: () => current - page(),
  Home: () => 0, End: () => chosen.places.length - 1,
};
const KEYS = {
  j: () => show(Math.min(current + 1, chosen.places.length - 1)),
  k: () => show(Math.max(current - 1, 0)),
  o: () => pane.focus(),
  d: () => form.elements.diff.click(),
  "/": () => (form.elements.words.focus(), form.elements.words.select()),
  "?": () => help.showModal(),
};

list.addEventListener("keydown", (event) => {
  if (MOVES[event.key] && !event.ctrlKey && !event.altKey && !event.metaKey) {
    event.preventDefault();
    show(Math.max(0, MOVES[event.key]()));
  } else if (event.key === "Enter") pane.focus();
});
list.addEventListener("click", (event) => {
  const row = event.target.closest("[data-number]");
  if (row) show(Number(row.dataset.number));
});
list.addEventListener("scroll", draw, { passive: true });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !help.open) return void list.focus();
  const isWriting = event.target.closest?.("input:not([type=checkbox]), select, textarea, dialog");
  if (isWriting || event.ctrlKey || event.altKey || event.metaKey || !form.elements.keys.checked) return;
  if (!Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  if (event.target.name === "diff") read(), remember();
  else if (event.target.name === "keys") remember();
  else filter();
});
form.addEventListener("reset", () => setTimeout(() => filter()));
document.getElementById("open-help").addEventListener("click", () => help.showModal());
document.getElementById("close-help").addEventListener("click", () => help.close());
addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return; // a place in the page, not a state
  restore();
  document.getElementById("pairs").scrollIntoView();
});
addEventListener("resize", () => {
  rowHeight = measureRow();
  rows.style.height = `${chosen.places.length * rowHeight}px`;
  rows.replaceChildren();
  draw();
});

restore();
document.getElementById("unscripted").remove();
document.documentElement.dataset.ready = "yes";
performance.mark("ready");
