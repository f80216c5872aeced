"""All labelled pairs of a prompt as one row, so that each of its answers is computed once, and one optimizer step sees
all that is said about a prompt (InstructGPT, arXiv:2203.02155 section 3.5, where shuffled pairs of one prompt overfit).

    rows, places = group_by_prompt(rows, places)

Pairs keep their weights: an epoch says the same, divided into other steps. `places` name the rows for errors.

Equal are prompts and answers whose token ids are equal, nothing else.
"""

from collections.abc import Sequence
from dataclasses import replace

from rlaif.train.examples import TrainingRow
from rlaif.train.packing import TokenSequence


def group_by_prompt(rows: Sequence[TrainingRow], places: Sequence[str]) -> tuple[list[TrainingRow], list[str]]:
    """Rows in the order in which their prompts come first; a prompt with a single pair stays as it is."""
    groups: dict[bytes, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(prompt_ids(row.family[0]), []).append(number)
    return (
        [rows[one[0]] if len(one) == 1 else _joined([rows[number] for number in one]) for one in groups.values()],
        [places[one[0]] + (f" and {len(one) - 1} more" if len(one) > 1 else "") for one in groups.values()],
    )


def prompt_ids(sequence: TokenSequence) -> bytes:
    """The tokens before the first scored one."""
    return sequence.ids[: int(sequence.scored.argmax())].tobytes()


def _joined(rows: Sequence[TrainingRow]) -> TrainingRow:
    family: dict[tuple[bytes, bytes], TokenSequence] = {}
    for one in (one for row in rows for one in row.family):
        family.setdefault(_content(one), one)
    place = {content: number for number, content in enumerate(family)}
    pairs = tuple(
        replace(pair, first=place[_content(row.family[pair.first])], second=place[_content(row.family[pair.second])])
        for row in rows
        for pair in row.pairs
    )
    return TrainingRow(family=tuple(family.values()), weight=sum(pair.weight for pair in pairs), comparisons=pairs)


def _content(sequence: TokenSequence) -> tuple[bytes, bytes]:
    return sequence.ids.tobytes(), sequence.scored.tobytes()
