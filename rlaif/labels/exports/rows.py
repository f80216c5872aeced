"""Exports that are one vote a row: TRL's preference format and alpaca_eval's annotations."""

from collections.abc import Sequence

from rlaif.labels.exports.base import Export, Row, is_plain, named_choice, named_probability, without_empty
from rlaif.labels.formats.chosen import TRL
from rlaif.labels.formats.numbered import ALPACA_EVAL
from rlaif.labels.label import Choice, Mark
from rlaif.labels.votes import Found, Unfit, swapped_found


def _trl(group: Sequence[Found]) -> Row | Unfit:
    """Conversational, explicit prompt. Columns beside prompt, chosen and rejected are ours; TRL passes over them."""
    (found,) = group
    if named_choice(found) not in ("first", "second"):
        return Unfit(f"{named_choice(found)}: TRL knows only a chosen and a rejected answer")
    is_turned = named_choice(found) == "second"
    won = swapped_found(found) if is_turned else found
    return {
        "prompt": [message.as_dict() for message in won.prompt],
        "chosen": [{"role": "assistant", "content": won.first}],
        "rejected": [{"role": "assistant", "content": won.second}],
        **without_empty(
            {
                "rater": won.rater,
                "rater_kind": won.kind,
                "probability": named_probability(found),
                "strength": won.strength,
                "marks": [without_empty(mark_cells(mark)) for mark in won.marks],
                "comment": won.comment,
                "seconds": won.seconds,
                "time": won.time and won.time.isoformat(),
                "shown_first": ("rejected" if is_turned else "chosen") if won.is_order_known else "",
                "item": won.item,
                "chosen_model": won.first_model,
                "rejected_model": won.second_model,
                "tags": sorted(won.tags),
                "source": won.source,
            }
        ),
    }


def mark_cells(mark: Mark) -> Row:
    return {name: getattr(mark, name) for name in Mark.__slots__}


_PREFERENCES: dict[Choice, float | None] = {"first": 1.0, "second": 2.0, "tie": 1.5, "skipped": None}


def _alpaca(group: Sequence[Found]) -> Row | Unfit:
    """preference is 1 + P(the second is better). A person is an annotator_index, anybody else an annotator."""
    (found,) = group
    if not is_plain(found.prompt):
        return Unfit("a conversation: alpaca_eval knows only an instruction")
    if found.choice is not None and found.choice not in _PREFERENCES:
        return Unfit(f"{found.choice}: alpaca_eval has no such preference")
    preference = _PREFERENCES[found.choice] if found.choice else 2.0 - (found.probability or 0.0)
    return {
        "instruction": found.prompt[0].content,
        "output_1": found.first,
        "output_2": found.second,
        "preference": preference,
        ("annotator_index" if found.kind == "human" else "annotator"): found.rater,
        **without_empty(
            {
                "generator_1": found.first_model,
                "generator_2": found.second_model,
                "time_per_example": found.seconds,
                "dataset": found.source,
            }
        ),
    }


TRL_ROWS = Export(
    name="trl",
    about="TRL preference, conversational with an explicit prompt; everything else in columns of its own",
    row=_trl,
    reader=TRL,
    document=None,
)
ALPACA_EVAL_ROWS = Export(
    name="alpaca-eval",
    about="alpaca_eval annotations",
    row=_alpaca,
    reader=ALPACA_EVAL,
)
