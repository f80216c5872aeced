"""The report as tables, for the terminal and for Markdown. Nothing is computed here."""

from collections.abc import Callable, Iterator, Sequence

from rlaif.evaluate.comparison.sentences import QUESTIONS
from rlaif.evaluate.comparison.tables import (
    EMPTY,
    NOTHING,
    Cell,
    Row,
    Section,
    Told,
    markdown_table,
    number,
    plain,
    points,
    row,
    share,
    signed,
)
from rlaif.evaluate.principles.tables import principle_tables
from rlaif.style import ABOUT

_BETWEEN = ("agreement", "cohen_kappa", "krippendorff_alpha", "gwet_ac1")
_AGAINST = ("accuracy", "precision", "recall", "f1")
_PANEL = ("agreement", "krippendorff_alpha", "fleiss_kappa", "gwet_ac1", "krippendorff_alpha_ordinal")
_SHARES = {"agreement", *_AGAINST}
_TRUST = ("ece_debiased", "brier", "brier_reliability_debiased", "brier_resolution", "log_loss", "log_loss_least")
_TWO_ORDERS = ("swap_consistency", "same_position", "same_position_first", "clear", "same_position_clear")
_TESTED = ("only_first_right", "only_second_right", "p_clustered", "p_sign_flip", "p_exact")
_MOST_ROWS, _MOST_SLICES = 30, 10
_CALLED = {
    "cohen_kappa": "Cohen's κ",
    "krippendorff_alpha": "α",
    "krippendorff_alpha_ordinal": "ordinal α",
    "fleiss_kappa": "Fleiss' κ",
    "gwet_ac1": "AC1",
    "f1": "F1",
    "ece_debiased": "calibration error",
    "brier": "Brier score",
    "brier_reliability_debiased": "its reliability",
    "brier_resolution": "its resolution",
    "log_loss": "log loss",
    "log_loss_least": "least log loss",
    "swap_consistency": "same answer",
    "same_position": "same place",
    "same_position_first": "of these, the first",
    "clear": "clear pairs",
    "same_position_clear": "of these, same place",
}
_WHAT_BETWEEN = (
    "Agreement says nothing of chance; Cohen's κ, Krippendorff's α and Gwet's AC1 take it away, each its own way "
    "(docs/compare.md)."
)
_WHAT_AGAINST = "Precision, recall and F1 are means over the answers; the JSON has each answer's."
_WHAT_BESIDE = (
    "One person at a time is left out, and the person and the judge are both held against the majority of the others. "
    "Worth: how many people's mean vote foretells a person's as well as the judge's vote does."
)
_WHAT_PANEL = "The chance that two people give the same answer, whoever they are, and what is left of it beyond chance."
_WHAT_SLICES = (
    "Agreement with most people, that of a person with most others there, and how far the judge's differs from that on "
    "all other pairs; ↓ where it is surely lower."
)
_WHAT_TRUST = (
    "Does 0.8 come true 0.8 of the time? Against the share of people for the judge's favourite. Calibration error less "
    "what chance adds; log loss in nats, and the least that anybody could have."
)
_WHAT_ADDED = (
    "The same share by people alone, and by people with the judge's labels on pairs they did not see (PPI++). Worth: "
    "how many of people's labels alone would be as sure. It holds where people's pairs were drawn at random."
)
_WHAT_SWAYS = (
    "Log-odds for the answer shown first, and for a typical difference in each style, all at once. People are swayed "
    "too; a judge's fault is what it does beyond them. Units: "
)
_WHAT_MODELS = (
    "Share of comparisons won, a tie as half; the JSON has strengths (Bradley–Terry), and people's win rates with the "
    "judge's labels added."
)
_WHAT_TESTS = "p: McNemar's with prompts as the unit; sign flips of whole prompts; exact, as if pairs were independent."


def sections(report: Told) -> Iterator[Section]:
    """Every table that has something in it, from what is asked first to what is asked last."""
    judges = report["judges"]
    if judges:
        yield _beside(report)
    yield _rater_pairs(report, _BETWEEN, "Every two raters", _WHAT_BETWEEN)
    if judges:
        yield _rater_pairs(report, _AGAINST, "Judges against people", _WHAT_AGAINST, is_against=True)
    yield _panel(report["people"])
    for name, own in judges.items():
        yield from (_slices(name, kind, found) for kind, found in own["slices"].items())
        yield from _trust(name, own)
        if own["position"]:
            yield _two_orders(name, own["position"])
        yield _added(name, own["prediction_powered"])
        yield from principle_tables(name, own["principles"])
    yield _sway(report["raters"])
    if "sources" in report.get("models", {}):
        yield _models(report["models"])


def _beside(report: Told) -> Section:
    columns = (
        "judge with most others",
        "a person with most others",
        "difference, points",
        "worth, people",
        "stand in?",
    )
    rows = []
    for name, own in report["judges"].items():
        ceiling = own["ceiling"]
        cells = (share(ceiling["judge"]), share(ceiling["human"]), points(ceiling["excess"]))
        rows.append(row(name, *cells, number(own["worth_people"]), _stand_in(own["alternative"])))
    return Section("Beside people", _WHAT_BESIDE, columns, tuple(rows))


def _stand_in(test: Told) -> Cell:
    if "because" in test:
        return Cell("–", test["because"])
    beaten = f"beats {100 * test['winning_rate']:.0f} % of {len(test['people'])} people, ε = {test['epsilon']:g}"
    return Cell("passes" if test["passes"] else "fails", beaten)


def _rater_pairs(report: Told, names: Sequence[str], title: str, about: str, *, is_against: bool = False) -> Section:
    judges = report["judges"]
    wanted = {
        key: own
        for key, own in report["rater_pairs"].items()
        if not is_against or (own["raters"][1] in judges and own["raters"][0] not in judges)
    }
    shown = list(wanted.items())[:_MOST_ROWS]
    rows = tuple(row(key, *(_of(name)(own[name]) for name in names)) for key, own in shown)
    more = f"and {len(wanted) - _MOST_ROWS} more, all in the JSON" if len(wanted) > _MOST_ROWS else ""
    return Section(title, about, _called(names), rows, more)


def _called(names: Sequence[str]) -> tuple[str, ...]:
    """A figure's name in a table's head."""
    return tuple(_CALLED.get(name, name) for name in names)


def _of(name: str) -> Callable[[Told | None], Cell]:
    return share if name in _SHARES else number


def _panel(people: Told) -> Section:
    names = [name for name in _PANEL if name in people]
    cells = [_of(name)(people[name]) for name in names]
    return Section("People with each other", _WHAT_PANEL, _called(names), (row("people", *cells),))


def _slices(name: str, kind: str, found: Sequence[Told]) -> Section:
    """Those that are surely lower first; where there are many, only the largest of the others."""
    lower = [one for one in found if one["is_lower"]]
    others = [one for one in found if not one["is_lower"]][: max(_MOST_SLICES - len(lower), 0)]
    shown = [*found] if kind in ("length", "confidence") else [*lower, *others]
    rows = tuple(
        row(f"{'↓ ' if one['is_lower'] else ''}{one['name']}",
            share(one["agreement"]), share(one["human"]), points(one["difference"]))
        for one in shown
    )  # fmt: skip
    more = f"and {len(found) - len(shown)} more, all in the JSON" if len(shown) < len(found) else ""
    return Section(f"{name}, by {kind}", _WHAT_SLICES, ("judge", "people", "difference, points"), rows, more)


def _trust(name: str, own: Told) -> Iterator[Section]:
    found = own["calibration"]
    if "because" in found:
        return
    rows = [row("as given", *(number(found[key]) for key in _TRUST))]
    for method, mended in own["recalibration"].items():
        if "because" not in mended:
            rows.append(row(f"{method}, out of fold", *(number(mended.get(key)) for key in _TRUST)))
    yield Section(f"{name}, calibration", _WHAT_TRUST, _called(_TRUST), tuple(rows))
    bins = tuple(row(str(place), share(one["said"]), share(one["came"])) for place, one in enumerate(found["bins"], 1))
    about = "The judge's confidence, and the share of people who shared its favourite."
    yield Section(f"{name}, reliability", about, ("said", "came"), bins)


def _two_orders(name: str, found: Told) -> Section:
    cells = (*(share(found[key]) for key in _TWO_ORDERS), signed(found["first_slot_log_odds"]))
    about = "The same answer, or the same place, preferred whichever way round they are shown."
    return Section(
        f"{name}, both orders", about, (*_called(_TWO_ORDERS), "first place, log-odds"), (row(name, *cells),)
    )


def _added(name: str, found: Told) -> Section:
    rows = tuple(row(what, *_powered(one)) for what, one in found.items())
    return Section(
        f"{name}, what its labels add", _WHAT_ADDED, ("people alone", "with the judge", "worth, labels"), rows
    )


def _powered(one: Told) -> tuple[Cell, Cell, Cell]:
    if "because" in one:
        return Cell("–", one["because"]), NOTHING, NOTHING
    based = f"people gave {one['num_human']:,}, the judge alone {one['num_judge_only']:,}"
    return share(one["people"]), share(one["together"]), Cell(f"{one['worth_labels']:,.0f}", based)


def _sway(raters: Sequence[Told]) -> Section:
    names = ("position", *ABOUT)
    rows: list[Row] = []
    for rater in raters:
        longer = share(rater["prefers_longer"])
        rows.append(row(rater["name"], longer, *(signed(rater["effects"][name]) for name in names)))
        if "excess" in rater:
            beyond = (signed(rater["excess"][name]) for name in names)
            rows.append(row(f"{rater['name']} beyond people", EMPTY, *beyond))
    units = "; ".join(f"{name}: {about}" for name, about in ABOUT.items())
    return Section("What sways whom", f"{_WHAT_SWAYS}{units}.", ("prefers the longer", *names), tuple(rows))


def _models(found: Told) -> Section:
    sources = found["sources"]
    rows = [row(name, *(share(own["win_rate"][name]) for own in sources.values())) for name in found["names"]]
    ranks = (number(own["rank"]["kendall"]) if "rank" in own else EMPTY for own in sources.values())
    rows.append(row("rank agreement with people, Kendall's τ", *ranks))
    return Section("Models", _WHAT_MODELS, tuple(sources), tuple(rows))


def markdown(report: Told) -> str:
    """The report as one Markdown document."""
    lines = ["# People and judges compared", ""]
    for question, said in report["sentences"].items():
        lines += [f"**{QUESTIONS[question]}** {plain(said)}", ""]
    lines += [counted(report), "", *(f"- {plain(note)}" for note in report["notes"])]
    lines += [line for section in sections(report) for line in markdown_table(section)]
    return "\n".join(lines) + "\n"


def counted(report: Told) -> str:
    """What the figures rest on, in a line."""
    own = report["compared"]
    people = "1 person" if own["people"] == 1 else f"{own['people']} people"
    judges = "1 judge" if own["judges"] == 1 else f"{own['judges']} judges"
    said = (
        f"{own['things']:,} judgments of {own['pairs']:,} pairs of {own['prompts']:,} prompts; {people}, "
        f"{judges}; 95 % intervals, clustered by prompt."
    )
    dropped = [
        f"{name} {found['people']:,} of people, {found['judges']:,} of judges"
        for name, found in report["left_out"].items()
        if found["people"] or found["judges"]
    ]
    return said + (f" Not counted: {'; '.join(dropped)}." if dropped else "")


def diff_sections(found: Told) -> Iterator[Section]:
    """What `rlaif compare diff` found, as tables."""
    own, test = found["compared"], found["test"]
    about = (
        f"{own['both_answered']:,} things answered by both, of {own['things']:,} that people labelled for both; only A"
        f" has {own['only_first']:,}, only B {own['only_second']:,}."
    )
    if own["relabelled"]:
        about += f" On {own['relabelled']:,} of them people's votes differ between the two."
    agreed, brier = found["agreement"], found["brier"]
    rows = (
        row("agreement with people", share(agreed["first"]), share(agreed["second"]), points(agreed["difference"])),
        row("Brier score", number(brier["first"]), number(brier["second"]), signed(brier["difference"])),
        row("verdicts that changed", EMPTY, EMPTY, share(found["changed"])),
    )
    yield Section("", about, (found["first"], found["second"], "difference"), rows)
    if "because" not in test:
        cells = (Cell(f"{test[name]:,.4g}") for name in _TESTED)
        columns = ("only A right", "only B right", "p clustered", "p sign flips", "p exact")
        yield Section("", _WHAT_TESTS, columns, (row("", *cells),))
