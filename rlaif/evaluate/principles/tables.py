"""The section "which principle" as tables, for the terminal and for Markdown. Nothing is computed here."""

from collections.abc import Iterator

from rlaif.evaluate.comparison.tables import Cell, Section, Told, number, points, row, share, signed

_SPEAKS = (
    "How often it prefers an answer, whether people then do too (κ is 0 for a coin), and both together. Without it: "
    "the change of agreement, in points; above 0, it costs. Worth: its part in the agreement, all parts adding up to "
    "what a coin lacks. The principle that costs most comes first (docs/which-principle.md)."
)
_WEIGHS = (
    "Whose doing the labels and the disagreements are, and what a typical verdict moves labels and people by, in "
    "log-odds with the others held: compare the two columns by their proportions. *: people's votes need it (L1)."
)
_EDITS = (
    "Each on top of those above it, measured on prompts that did not choose it; all intervals hold together. "
    "`rlaif compare suggest` writes them down."
)


def principle_tables(judge: str, own: Told) -> Iterator[Section]:
    """A judge's tables; none where nothing is known of its principles."""
    if not own:
        return
    told = [(name, own["principles"][name]) for name in own["order"]]
    speaks = tuple(
        row(name, share(one["opinion"]), number(one["kappa"]), signed(one["strength"]), points(one["drop_one"]),
            points(one["worth"])) for name, one in told
    )  # fmt: skip
    columns = ("has an opinion", "κ with people", "strength", "without it", "worth, points")
    yield Section(f"{judge}: principles and people", _SPEAKS, columns, speaks, "; ".join(own["notes"]))
    weighs = tuple(
        row(_marked(name, one), Cell(f"{one['weight']:g}"), share(one["label_share"]), share(one["disagreement_share"]),
            signed(one["judge_weight"]), signed(one["people_weight"])) for name, one in told
    )  # fmt: skip
    columns = ("weight", "of the labels", "of the disagreements", "moves the labels", "moves people")
    sampled = f"Shares are sampled: ± {own['shapley']['error']:.1g}" if own["shapley"]["orders"] else ""
    yield Section(f"{judge}: whose doing", _WEIGHS, columns, weighs, sampled)
    yield from _edits(judge, own)


def _marked(name: str, one: Told) -> str:
    return f"{name} *" if one["kept"] else name


def _edits(judge: str, own: Told) -> Iterator[Section]:
    offered = own["suggestions"] or {"edits": (), "rewordings": ()}
    rows = tuple(
        row(f"{one['principle']}: {one['words']}", points(one["predicted"]))
        for one in (*offered["edits"], *offered["rewordings"])
    )
    told = "" if own["prediction"] is None else own["prediction"]["sentence"]
    if rows or told:
        yield Section(
            f"{judge}: what to change in the constitution", _EDITS, ("change of agreement, points",), rows, told
        )
