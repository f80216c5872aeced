// One pair in full: the conversation, two answers with what only one of them says, every vote, every principle in both
// orders, critiques. Built of text nodes alone, so no text can become markup.

const SAID = ["answer 1", "answer 2", "a tie", "both bad", "skipped"];
const ROLES = { s: "System", u: "User", a: "Assistant" };

function make(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {}))
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

function percent(value) {
  return value === null || value !== value ? "–" : `${(100 * value).toFixed(1)} %`;
}

// What a value says in words, where `side` is what it names.
function saying(value, side) {
  if (value !== value) return "says nothing";
  const sure = percent(confidence(value));
  return side === 0 ? `names neither (answer 1: ${percent(value)})` : `prefers answer ${side > 0 ? 1 : 2} (${sure})`;
}

function text(content, properties) {
  return make("div", { className: "text", dir: "auto", ...properties }, content);
}

// The children of the reading pane.
function reading(pairs, place, selected, heading, isMarked) {
  const read = pairs.read(place);
  const compared = isMarked ? compareWords(read.first, read.second) : null;
  return [
    heading,
    about(pairs, place),
    make("h4", {}, "Conversation"),
    ...read.turns.map(([role, content]) => make("div", { className: "turn" }, make("b", {}, ROLES[role]), text(content))),
    make(
      "div",
      { className: "answers" },
      answer("Answer 1", read.firstModel, verdict(selected, place, 1), compared?.left ?? [[read.first, false]]),
      answer("Answer 2", read.secondModel, verdict(selected, place, -1), compared?.right ?? [[read.second, false]]),
    ),
    compared && !compared.isExact
      ? make("p", { className: "about" }, "These answers are very long: marked are words that the other one does not have at all.")
      : null,
    ...critiques(pairs, read),
    ...principles(pairs, place),
    ...votes(pairs, place, read),
  ].filter((part) => part !== null);
}

function about(pairs, place) {
  const { tags, sources, tags_of, source_of, ids } = pairs.index;
  const source = sources[source_of[place]];
  const parts = [
    tags_of[place].length ? `Tags: ${tags_of[place].map((tag) => tags[tag]).join(", ")}.` : "",
    source ? `Source: ${source}.` : "",
    `Pair ${ids[place].slice(0, 16)}.`,
  ];
  return make("p", { className: "about" }, parts.filter(Boolean).join(" "));
}

// What both who are compared give one answer.
function verdict({ judge, against, pairs, names }, place, side) {
  const share = side > 0 ? against[place] : 1 - against[place];
  const own = side > 0 ? judge[place] : 1 - judge[place];
  const isChosen = pairs.side(judge[place]) === side;
  return { isChosen, text: `${names[0]} ${percent(own)} · ${names[1]} ${percent(share)}` };
}

function answer(title, model, { isChosen, text: said }, pieces) {
  const body = text(pieces.map(([piece, isOnly]) => (isOnly ? make("mark", {}, piece) : piece)));
  return make(
    "section",
    { className: isChosen ? "answer chosen" : "answer" },
    make("h4", {}, title, isChosen ? make("span", { className: "badge" }, "preferred") : null),
    make("p", { className: "about" }, [said, model].filter(Boolean).join(" · ")),
    body,
  );
}

function critiques(pairs, read) {
  return read.critiques.flatMap(([rater, principle, shownFirst, content]) => [
    make("h4", {}, `Critique by ${pairs.raters[rater].name}`, principle ? `, under ${principle}` : ""),
    shownFirst ? make("p", { className: "about" }, `Written with answer ${shownFirst} shown first.`) : "",
    text(content, { className: "text critique" }),
  ]);
}

function table(label, columns, rows) {
  const head = make("tr", {}, ...columns.map((column) => make("th", { scope: "col" }, column)));
  const lines = rows.map(([name, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", { dir: "auto" }, cell))),
  );
  const whole = make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines));
  return make("div", { className: "wide", role: "region", "aria-label": label, tabIndex: 0 }, whole);
}

function principles(pairs, place) {
  const marks = pairs.index.marks[place];
  if (!marks.length) return [];
  const rows = marks.map((mark) => {
    const value = pairs.value(mark[2], mark[3]), side = pairs.side(value);
    const named = side ? `answer ${side > 0 ? 1 : 2}` : value === value ? "neither" : SAID[mark[3]] ?? "–";
    return [
      pairs.index.principles[mark[1]],
      pairs.raters[mark[0]].name,
      pairs.isOrderDecided(mark) ? `${named}; the order decided` : named,
      percent(mark[2]),
      percent(mark[4]),
      percent(mark[5]),
      mark[6] === null ? "–" : String(mark[6]),
    ];
  });
  const columns = ["Principle", "Rater", "Names", "P(answer 1)", "shown first", "shown second", "Weight"];
  return [make("h4", {}, "By principle, in both orders"), table("By principle", columns, rows)];
}

function votes(pairs, place, read) {
  const rows = pairs.index.votes[place].map(([rater, probability, choice, strength, seconds], vote) => [
    pairs.raters[rater].name,
    pairs.raters[rater].kind,
    probability === null ? SAID[choice] ?? "–" : saying(probability, pairs.side(probability)),
    strength === null ? "–" : String(strength),
    seconds === null ? "–" : `${seconds} s`,
    read.comments[vote],
  ]);
  const columns = ["Rater", "Kind", "Says", "Strength", "Time", "Comment"];
  return [make("h4", {}, "Votes"), table("Votes", columns, rows)];
}
