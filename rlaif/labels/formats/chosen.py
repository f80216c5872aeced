"""Formats that name a winner and a loser: HH-RLHF transcripts, TRL preference rows in all forms, UltraFeedback as
binarised by three publishers. None says in which order the answers were shown, or which rater it was.
"""

from collections.abc import Mapping
from typing import Any

from rlaif.labels.formats.base import Format, Reading, Row
from rlaif.labels.formats.extras import rater_of, with_extras
from rlaif.labels.formats.transcripts import Sides, answer_text, read_transcript, split_sides
from rlaif.labels.formats.values import messages_of, number_of, one_prompt, parsed, text_of
from rlaif.labels.votes import Found, Unfit
from rlaif.records import Message


def _won(sides: Sides | Unfit, **more: Any) -> Reading:
    if isinstance(sides, Unfit):
        yield sides
        return
    prompt, chosen, rejected = sides
    yield Found(prompt=prompt, first=chosen, second=rejected, choice="first", **more)


def _hh(row: Row) -> Reading:
    chosen, rejected = read_transcript(row["chosen"]), read_transcript(row["rejected"])
    sides = next((side for side in (chosen, rejected) if isinstance(side, Unfit)), None)
    yield from _won(sides or split_sides(chosen, rejected), rater="", kind="human")  # type: ignore[arg-type]


def _is_hh(row: Row) -> bool:
    sides = (row["chosen"], row["rejected"])
    return all(isinstance(side, str) and side.lstrip().startswith(("Human:", "Assistant:")) for side in sides)


def _trl(row: Row) -> Reading:
    sides = trl_sides(row)
    if isinstance(sides, Unfit):
        yield sides
    else:
        prompt, chosen, rejected = sides
        yield with_extras(row, prompt, chosen, rejected)


def trl_sides(row: Row) -> Sides | Unfit:
    """The prompt and both answers of a TRL row: explicit or implicit prompt, standard or conversational."""
    chosen, rejected, prompt = parsed(row["chosen"]), parsed(row["rejected"]), parsed(row.get("prompt"))
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _standard(prompt, chosen, rejected)
    whole = [messages_of(side) for side in (chosen, rejected)]
    for side in whole:
        if isinstance(side, Unfit):
            return side
    first, second = (tuple(side) for side in whole if not isinstance(side, Unfit))
    if prompt is None or _begins_alike(first, second):
        return split_sides(first, second)
    given = messages_of(prompt)
    answers = [answer_text(side) for side in (first, second)]
    for part in (given, *answers):
        if isinstance(part, Unfit):
            return part
    return tuple(given), str(answers[0]), str(answers[1])  # type: ignore[arg-type]  # none is Unfit


def _begins_alike(first: tuple[Message, ...], second: tuple[Message, ...]) -> bool:
    """True where `chosen` and `rejected` are whole conversations, whatever `prompt` says beside them."""
    return bool(first and second) and first[0] == second[0] and first[0].role != "assistant"


def _standard(prompt: Any, chosen: str, rejected: str) -> Sides | Unfit:
    if prompt is not None:
        given = messages_of(prompt)
        return given if isinstance(given, Unfit) else (given, chosen, rejected)
    length = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), -1)
    if length < 0:
        length = min(len(chosen), len(rejected))
    if length and chosen[length - 1] == " ":  # as TRL does: the blank belongs to the answer
        length -= 1
    return one_prompt(chosen[:length]), chosen[length:], rejected[length:]


def _binarized(row: Row) -> Reading:
    """HuggingFaceH4 and argilla; the scores are those of GPT-4."""
    names = {"prompt": row.get("prompt") or row.get("instruction")}
    for side in ("chosen", "rejected"):
        names[side] = row[side] if side in row else row[f"{side}_response"]
    sides = trl_sides(names)
    scores = [_score(row, side) for side in ("chosen", "rejected")]
    strength = abs(scores[0] - scores[1]) if scores[0] is not None and scores[1] is not None else None
    models = [text_of(row.get(f"{side}-model") or row.get(f"{side}_model")) for side in ("chosen", "rejected")]
    yield from _won(
        sides,
        rater=rater_of(row),
        kind="judge",
        strength=strength,
        first_model=models[0],
        second_model=models[1],
        source=text_of(row.get("source")),
    )


def _score(row: Row, side: str) -> float | None:
    keys = (f"score_{side}", f"{side}-rating", f"{side}_avg_rating", f"{side}_rating")
    return next((number for key in keys if (number := number_of(row.get(key))) is not None), None)


def _is_binarized(row: Row) -> bool:
    has_sides = {"chosen", "rejected"} <= row.keys() or {"chosen_response", "rejected_response"} <= row.keys()
    return has_sides and all(_score(row, side) is not None for side in ("chosen", "rejected"))


def _has_text_sides(row: Row) -> bool:
    return all(isinstance(row[side], str | list | Mapping) for side in ("chosen", "rejected"))


_SIDES = frozenset({"chosen", "rejected"})
HH = Format(
    name="hh-rlhf",
    about='Anthropic HH-RLHF: `chosen`, `rejected` transcripts ("\\n\\nHuman: …\\n\\nAssistant: …")',
    keys=_SIDES,
    fits=_is_hh,
    read=_hh,
    rater="hh-rlhf",
)
ULTRAFEEDBACK_BINARIZED = Format(
    name="ultrafeedback-binarized",
    about="UltraFeedback as HuggingFaceH4 or argilla binarised it: chosen and rejected with their scores",
    keys=frozenset(),
    fits=_is_binarized,
    read=_binarized,
    rater="gpt-4",
)
TRL = Format(
    name="trl",
    about="TRL preference: `chosen`, `rejected`, with or without `prompt`, texts or conversations",
    keys=_SIDES,
    fits=_has_text_sides,
    read=_trl,
)
