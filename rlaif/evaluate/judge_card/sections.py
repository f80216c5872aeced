"""The card as tables, for whatever shows it: terminal, Markdown, HTML. Nothing is computed here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rlaif.evaluate.judge_card.card import ALL, Card, Measured
from rlaif.evaluate.judge_card.figures import OWN
from rlaif.numbers.figures import Estimate, Figure
from rlaif.style import ABOUT

LABEL = "the label"
_MOST_PAIRS = 12
_PROBED = {
    "flipped": ("verdicts flipped", ""),
    "flipped_clear": ("clear verdicts flipped", "Of pairs outside 0.45 to 0.55 before and after the change."),
    "shift": ("log-odds towards the changed answer", "The mean change of the verdict's log-odds."),
    "won_over": (
        "verdicts won over",
        "Of verdicts against an answer, how many are for it once it is changed (the attack success rate).",
    ),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure and how to say it: as a share, or as a number with a sign."""

    figure: Figure | None
    is_share: bool = True

    @property
    def value(self) -> str:
        if not isinstance(self.figure, Estimate):
            return "–"
        return f"{100 * self.figure.value:.1f} %" if self.is_share else f"{self.figure.value:+.3f}"

    @property
    def interval(self) -> str:
        """Its ends and n; why there is no number, or no end."""
        one = self.figure
        if one is None:
            return ""
        if not isinstance(one, Estimate):
            return one.because
        n = f"n {one.n:,}" + (f", {one.clusters:,} prompts" if one.n != one.clusters else " prompts")
        if one.low is None or one.high is None:
            return f"{n}; {one.because}"
        ends = [f"{100 * end:.1f}" if self.is_share else f"{end:+.3f}" for end in (one.low, one.high)]
        return f"{ends[0]} to {ends[1]}; {n}"


@dataclass(frozen=True, slots=True)
class Section:
    """A table: `about` explains it in a sentence or two, `rows` have a name and a cell per column."""

    title: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def sections(card: Card) -> Iterator[Section]:
    """Every table that has something in it."""
    every = {ALL: card.overall, **card.principles}
    yield _no_answer(every)
    yield _position(every)
    yield from _probes(card, every)
    labelled = {LABEL: card.overall, **card.principles}
    yield from _style(card, labelled)
    yield from _calibration(labelled)
    yield from _beyond(card)
    yield from _between(card)


def _no_answer(every: Mapping[str, Measured]) -> Section:
    reasons = sorted({why for one in every.values() for why in one.no_answer} - {"all"})
    return Section(
        "No answer",
        "The share of verdicts, one order of one pair each, that the judge did not give, and why.",
        ("no answer", *reasons),
        _rows(every, lambda one: [Cell(one.no_answer.get(why)) for why in ("all", *reasons)]),
    )


def _position(every: Mapping[str, Measured]) -> Section:
    shares = ("swap_consistency", "same_position", "same_position_first", "clear", "same_position_clear")
    return Section(
        "Position",
        "Pairs whose two orders name the same answer, or the same place, and then whether that is the first. Two"
        " answers that are alike by a principle fall to either side by a hair: clear are pairs that both orders put"
        " outside 0.45 to 0.55. First place: half the difference of the log-odds between the orders.",
        (
            "same answer",
            "same place",
            "of these, the first",
            "clear pairs",
            "of these, same place",
            "first place, log-odds",
        ),
        _rows(
            every,
            lambda one: [
                *(Cell(one.position.get(name)) for name in shares),
                Cell(one.position.get("first_slot_log_odds"), is_share=False),
            ],
        ),
    )


def _probes(card: Card, every: Mapping[str, Measured]) -> Iterator[Section]:
    about = {
        "irrelevant": "Verdicts that name another answer after a change to one answer that says nothing new. Under a"
        " principle about length or form the change may matter.",
        "worse": "Verdicts that name another answer after a change that makes one answer worse: a flip away from it is"
        " right, and log-odds towards it should be below 0.",
    }
    for kind, text in about.items():
        names = [name for name, own in card.kinds.items() if own == kind]
        if not names:
            continue
        title = "Changes that should not matter" if kind == "irrelevant" else "Changes for the worse"
        for key, (what, more) in _PROBED.items():
            cells = partial(_probe_cells, names, key)
            yield Section(f"{title}: {what}", f"{text} {more}".strip(), tuple(names), _rows(every, cells))
            text = ""


def _probe_cells(names: Sequence[str], key: str, one: Measured) -> list[Cell]:
    return [Cell(one.probes.get(name, {}).get(key), is_share=key != "shift") for name in names]


def _style(card: Card, every: Mapping[str, Measured]) -> Iterator[Section]:
    """Both coefficients, in tables of their own."""
    names = [name for name in card.overall.style if name != OWN]
    units = "; ".join(f"{name}: {ABOUT[name]}" for name in names)
    has_own = OWN in card.overall.style
    own = " `own`: an answer of the judge's family against one of another." if has_own else ""
    no_own = "" if has_own or not card.own.because else f" Self-preference is not measured: {card.own.because}."
    columns = (*names, OWN) if has_own else tuple(names)
    told = {
        "logistic": "How far verdicts go with what answers look like: standardised logistic coefficients, all styles at"
        f" once and the place held; a principle may ask for it. Units of a difference: {units}.{own}{no_own}",
        "log_odds": "The same on the scale of the judge's own log-odds, where effects add up: what one typical"
        " difference is worth to it.",
    }
    for kind, about in told.items():
        title = "Style" if kind == "logistic" else "Style: worth in log-odds"
        yield Section(title, about, columns, _rows(every, partial(_style_cells, columns, kind)))


def _style_cells(columns: Sequence[str], kind: str, one: Measured) -> list[Cell]:
    return [Cell(getattr(one.style[name], kind) if name in one.style else None, False) for name in columns]


def _calibration(every: Mapping[str, Measured]) -> Iterator[Section]:
    known = {name: one for name, one in every.items() if one.calibration}
    if not known:
        return
    yield Section(
        "Calibration against people",
        "Agreement: the share of people who prefer the judge's favourite. ECE less what chance adds; Brier score.",
        ("agreement", "calibration error", "Brier score"),
        _rows(
            known,
            lambda one: [
                Cell(one.calibration["agreement"]),
                Cell(one.calibration["ece_debiased"]),
                Cell(one.calibration["brier"], is_share=False),
            ],
        ),
    )


def _beyond(card: Card) -> Iterator[Section]:
    if card.beyond_people:
        cells = tuple(Cell(one, is_share=False) for one in card.beyond_people.values())
        yield Section(
            "Beyond people",
            "The judge's style effects less people's on the same pairs: what is left is the judge's own.",
            tuple(card.beyond_people),
            ((LABEL, cells),),
        )


def _between(card: Card) -> Iterator[Section]:
    """Pairs of principles that are one, or pull against each other; then the most alike and unlike of the others."""
    if not card.between:
        return
    known = [one for one in card.between if isinstance(one.agreement, Estimate)]
    told = sorted(known, key=lambda one: (one.relation == "", -abs(_value(one.agreement) - 0.5), one.first, one.second))
    rows = tuple(
        (
            f"{one.first} and {one.second}" + (f": {one.relation}" if one.relation else ""),
            (Cell(one.agreement), Cell(one.correlation, is_share=False)),
        )
        for one in told[:_MOST_PAIRS]
    )
    yield Section(
        "Between principles",
        "Agreement: of pairs on which both name an answer, those on which it is the same. `duplicate`: its interval is"
        f" above 90 %; `contradict`: below 40 %. {len(rows)} of {len(card.between)} shown; the JSON has all.",
        ("agreement", "correlation of log-odds"),
        rows,
    )


def _value(figure: Figure) -> float:
    return figure.value if isinstance(figure, Estimate) else 0.5


def _rows(
    every: Mapping[str, Measured], cells: Callable[[Measured], Sequence[Cell]]
) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    return tuple((name, tuple(cells(one))) for name, one in every.items())


def markdown(card: Card) -> str:
    """The card as one Markdown document."""
    lines = [f"# Judge card: {_plain(card.judge['name'])}", "", _plain(card.sentence), ""]
    lines += [f"{_plain(card.source)}; mode `{card.mode}`; {card.pairs:,} pairs of {card.prompts:,} prompts.", ""]
    lines += [f"- {_plain(note)}" for note in card.notes]
    for section in sections(card):
        lines += ["", f"## {section.title}", "", _plain(section.about), ""]
        lines += [_md_row(["", *section.columns]), _md_row(["---"] * (1 + len(section.columns)))]
        lines += [_md_row([name, *(_md_cell(cell) for cell in cells)]) for name, cells in section.rows]
    return "\n".join(lines) + "\n"


def _md_cell(cell: Cell) -> str:
    return f"{cell.value} ({cell.interval})" if cell.interval else cell.value


def _md_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(text: str) -> str:
    """A text that cannot become a table, a tag or a line of its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
