// The pairs as columns: who is compared with whom, which pairs a filter leaves, in which order. Nothing here knows the
// page; `index` and `texts` are what packed.py wrote.

// Doublings of characters, the judge's choice less the other, from … to below …: the report's slices.
const SIZES = { half: [-Infinity, -1], shorter: [-1, -0.3], alike: [-0.3, 0.3], longer: [0.3, 1], double: [1, Infinity] };

class Pairs {
  constructor(index, texts) {
    this.index = index;
    this.entries = texts.split("\u001e").slice(1);
    this.count = this.entries.length;
    this.raters = index.raters.map(([name, kind]) => ({ name, kind, key: `${kind}:${name}` }));
    this.sides = new Map();
    this.lower = null;
  }

  // The texts of one pair.
  read(place) {
    const fields = this.entries[place].split("\u001f");
    const [first, second, firstModel, secondModel] = fields;
    const roles = [...this.index.roles[place]], votes = this.index.votes[place];
    const after = 4 + roles.length;
    return {
      first, second, firstModel, secondModel,
      turns: roles.map((role, turn) => [role, fields[4 + turn]]),
      comments: votes.map((_, vote) => fields[after + vote]),
      critiques: this.index.critiques[place].map((about, number) => [...about, fields[after + votes.length + number]]),
    };
  }

  head(place) {
    const fields = this.entries[place].split("\u001f", 4 + this.index.roles[place].length);
    return fields[fields.length - 1];
  }

  // What a rater says of every pair: P(first is better), NaN for nothing. "" is people together, without the one that
  // they are compared with.
  valuesOf(key, besides = "") {
    const isOne = this.raters.some((one) => one.key === besides && one.kind !== "judge");
    const name = key || (isOne ? `without ${besides}` : "");
    if (!this.sides.has(name)) this.sides.set(name, key ? this.ownValues(key) : isOne ? this.othersValues(besides) : this.peoplesValues());
    return this.sides.get(name);
  }

  ownValues(key) {
    return this.meanValues((rater) => rater.key === key);
  }

  othersValues(key) {
    return this.meanValues((rater) => rater.key !== key && rater.kind !== "judge");
  }

  meanValues(isWanted) {
    const wanted = this.raters.map(isWanted);
    return Float64Array.from(this.index.votes, (votes) => {
      const said = votes.filter((vote) => wanted[vote[0]]).map((vote) => this.value(vote[1], vote[2])).filter((value) => value === value);
      return said.reduce((sum, value) => sum + value, 0) / said.length; // 0 / 0 is NaN
    });
  }

  peoplesValues() {
    return Float64Array.from(this.index.shares, (share) => share ?? NaN);
  }

  // P(first is better) of a vote or a mark: its probability, or what the report makes of its choice.
  value(probability, choice) {
    return probability ?? this.index.share_of_choice[choice] ?? NaN;
  }

  // Which answer a value names: 1, −1, or 0 for neither. A share of people has no width.
  side(value, width = this.index.tie_width) {
    return value > 0.5 + width ? 1 : value < 0.5 - width ? -1 : 0;
  }

  // 2 against each other, 1 one of them undecided, 0 as one, −1 one of them says nothing.
  relation(value, other, isOne) {
    if (value !== value || other !== other) return -1;
    const own = this.side(value), theirs = isOne ? this.side(other) : this.side(other, 0);
    return own * theirs < 0 ? 2 : own === theirs ? 0 : 1;
  }

  // Places of the pairs that a state of the filters leaves, in its order.
  select(state) {
    const judge = this.valuesOf(state.judge), against = this.valuesOf(state.against, state.judge);
    const relations = Int8Array.from(judge, (value, place) => this.relation(value, against[place], state.against));
    const tests = [...this.tests(state, judge, against, relations)];
    const places = [];
    for (let place = 0; place < this.count; place++) if (tests.every((test) => test(place))) places.push(place);
    const keys = this.orderKeys(state, judge, against, relations);
    return { places: places.sort((a, b) => keys[b] - keys[a] || a - b), judge, against };
  }

  *tests(state, judge, against, relations) {
    const wanted = { against: 2, tie: 1, with: 0, missing: -1 }[state.show];
    if (wanted !== undefined) yield (place) => relations[place] === wanted;
    const [low, high] = [Number(state.from || 50) / 100, Number(state.to || 100) / 100];
    if (low > 0.5 || high < 1) yield (place) => within(confidence(judge[place]), low, high);
    if (state.tag) yield this.has("tags_of", this.index.tags.indexOf(state.tag));
    if (state.source) yield this.has("source_of", this.index.sources.indexOf(state.source));
    if (SIZES[state.size]) yield this.sizeTest(state.size, judge);
    if (state.principle) yield this.principleTest(state, against);
    if (state.words) yield this.wordsTest(state.words);
  }

  has(column, wanted) {
    const held = this.index[column];
    return column === "tags_of" ? (place) => held[place].includes(wanted) : (place) => held[place] === wanted;
  }

  sizeTest(wanted, judge) {
    const [low, high] = SIZES[wanted];
    return (place) => {
      const longer = this.side(judge[place]) * this.index.doublings[place];
      return this.side(judge[place]) !== 0 && longer >= low && longer < high;
    };
  }

  marksOf(key, place) {
    return this.index.marks[place].filter((mark) => this.raters[mark[0]].key === key);
  }

  // Pairs on which the principle, as the judge reads it, has an opinion, or one for or against the other rater.
  principleTest({ principle, how, judge, against: other }, against) {
    const wanted = this.index.principles.indexOf(principle);
    return (place) =>
      this.marksOf(judge, place).some((mark) => {
        if (mark[1] !== wanted) return false;
        if (how === "order") return this.isOrderDecided(mark);
        const value = this.value(mark[2], mark[3]), relation = this.relation(value, against[place], other);
        return how === "against" ? relation === 2 : how === "with" ? relation === 0 : this.side(value) !== 0;
      });
  }

  // Both orders name an answer, and not the same one.
  isOrderDecided([, , , , shownFirst, shownSecond]) {
    if (shownFirst === null || shownSecond === null) return false;
    const [one, other] = [shownFirst - 0.5, shownSecond - 0.5];
    return one * other < 0 && Math.min(Math.abs(one), Math.abs(other)) > this.index.order_width;
  }

  wordsTest(words) {
    this.lower ??= this.entries.map((entry) => entry.toLowerCase());
    const wanted = words.toLowerCase();
    return (place) => this.lower[place].includes(wanted);
  }

  // Larger comes first.
  orderKeys({ sort, judge: key }, judge, against, relations) {
    const lengths = this.index.lengths;
    const rater = (place) => confidence(judge[place]) || 0;
    const keys = {
      // The judge's confidence where it is wrong; among equals, where fewer people are with it.
      wrong: (p) => 4 * relations[p] + 2 * rater(p) - 1e-6 * shareOfFavourite(judge[p], against[p]),
      unsure: (p) => (relations[p] < 0 ? -2 : -rater(p)),
      divided: (p) => (against[p] === against[p] ? -Math.abs(against[p] - 0.5) : -1),
      order: (p) => Math.max(-1, ...this.marksOf(key, p).map((mark) => (mark[4] === null || mark[5] === null ? -1 : Math.abs(mark[4] - mark[5])))),
      long: (p) => lengths[p][0] + lengths[p][1],
      short: (p) => -lengths[p][0] - lengths[p][1],
    };
    return Float64Array.from({ length: this.count }, (_, place) => (keys[sort] ?? keys.wrong)(place));
  }
}

function confidence(value) {
  return Math.max(value, 1 - value);
}

function shareOfFavourite(value, share) {
  return (value >= 0.5 ? share : 1 - share) || 0;
}

function within(value, low, high) {
  return value >= low - 1e-9 && value <= high + 1e-9;
}
