"""Formats where the two answers have numbers or letters and the vote names one: PandaLM, LLMBar, alpaca_eval,
PKU-SafeRLHF, ICAI's CSV. The order the rater saw is taken to be that of the numbers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.labels.formats.base import Format, Reading, Row
from rlaif.labels.formats.values import Alphabet, number_of, one_prompt, text_of
from rlaif.labels.label import Choice, Mark
from rlaif.labels.votes import Found, Unfit, swapped_found

_ONE_TWO_TIE = Alphabet(first=[1], second=[2], tie=[0, "tie"], skipped=["garbage"])
_ONE_TWO = Alphabet(first=[1], second=[2])
_ZERO_ONE = Alphabet(first=[0], second=[1])
_TEXT_A_B = Alphabet(first=["text_a", "a"], second=["text_b", "b"])


def read_votes(votes: Mapping[str, Any], alphabet: Alphabet, *, comment: str = "", **shared: Any) -> Reading:
    """One vote for each rater who has a cell in the row. A verdict that could not be read is kept as the comment."""
    names = [name for name in (shared.get("first_model"), shared.get("second_model")) if name]
    for rater, value in votes.items():
        choice = alphabet.read(value, names=names)
        if isinstance(choice, Unfit):
            yield Unfit(choice.reason, rater if len(votes) > 1 else "")
            continue
        said = str(value) if choice == "skipped" else comment
        yield Found(rater=rater, choice=choice, comment=said, is_order_known=True, **shared)


def _pandalm(row: Row) -> Reading:
    people = sorted(key for key in row if key.startswith("annotator") and key[9:].isdigit())
    yield from read_votes({key: row[key] for key in people}, _ONE_TWO_TIE, kind="human", **_pandalm_pair(row))


def _pandalm_verdict(row: Row) -> Reading:
    rater = "gpt-3.5-turbo" if "gpt_result" in row else "pandalm-7b"
    name = "gpt" if "gpt_result" in row else "pandalm"
    comment = text_of(row.get(f"{name}_reason"))
    votes = {rater: row[f"{name}_result"]}
    yield from read_votes(votes, _ONE_TWO_TIE, kind="judge", comment=comment, **_pandalm_pair(row))


def _pandalm_pair(row: Row) -> dict[str, Any]:
    models = text_of(row.get("cmp_key")).split("_")
    first, second = models if len(models) == 2 else ("", "")
    return {
        "prompt": one_prompt(row["instruction"], row.get("input")),
        "first": text_of(row["response1"]),
        "second": text_of(row["response2"]),
        "item": text_of(row.get("idx")),
        "first_model": first,
        "second_model": second,
        "tags": frozenset([text_of(row["motivation_app"])] if row.get("motivation_app") else []),
    }


def _is_verdict(row: Row) -> bool:
    return "gpt_result" in row or "pandalm_result" in row


def _llmbar(row: Row) -> Reading:
    yield from read_votes({"": row["label"]}, _ONE_TWO, kind="human", **_llmbar_pair(row))


def _llmbar_pair(row: Row) -> dict[str, Any]:
    return {"prompt": one_prompt(row["input"]), "first": text_of(row["output_1"]), "second": text_of(row["output_2"])}


def _llmbar_judgment(row: Row) -> Reading:
    """Two votes of one judge, one for each order it was shown. The winners are numbered as the texts are."""
    pair, index = _llmbar_pair(row), text_of(row["index"])
    rater = "/".join(text_of(row[key]) for key in ("judge", "strategy"))
    tags = frozenset([text_of(row["subset"]).rpartition("/")[2]])
    for order in ("ab", "ba"):
        choice: Choice | Unfit = _ONE_TWO.read(row[f"winner_shown_{order}"])
        if isinstance(choice, Unfit):  # a tie, or nothing that could be read
            choice = "skipped"
        found = Found(
            rater=rater, kind="judge", choice=choice, item=f"{index}/{order}", tags=tags, is_order_known=True, **pair
        )
        yield found if order == "ab" else swapped_found(found)


def _llmbar_name(path: Path, number: int, row: Row) -> str:
    return f"{path.name.partition('.')[0]}/{number}"


def _alpaca(row: Row) -> Reading:
    """preference: 1 and 2 name an answer, 0 and 1.5 a tie, between them it is 1 + P(the second is better)."""
    preference = number_of(row["preference"])
    choice, probability = _preference(preference)
    if isinstance(choice, Unfit):
        yield choice
        return
    is_person = row.get("annotator_index") is not None
    name = text_of(row.get("annotator_index" if is_person else "annotator"))
    models = [text_of(row.get(f"generator_{n}") or row.get("generator")) for n in (1, 2)]
    yield Found(
        prompt=one_prompt(row["instruction"], row.get("input")),
        first=text_of(row["output_1"]),
        second=text_of(row["output_2"]),
        rater=name,
        kind="human" if is_person else "judge",
        choice=choice,
        probability=probability,
        seconds=number_of(row.get("time_per_example")),
        is_order_known=True,
        first_model=models[0],
        second_model=models[1],
        source=text_of(row.get("dataset")),
    )


def _preference(preference: float | None) -> tuple[Choice | Unfit | None, float | None]:
    if preference is None:
        return "skipped", None
    exact: dict[float, Choice] = {1.0: "first", 2.0: "second", 1.5: "tie", 0.0: "tie"}
    if preference in exact:
        return exact[preference], None
    if not 1.0 < preference < 2.0:
        return Unfit(f"a preference of {preference:g} is not in 1 to 2"), None
    return None, 2.0 - preference


def _pku(row: Row) -> Reading:
    """The choice is who is better (more helpful); who is safer is a mark."""
    marks = []
    for principle, key in (("helpfulness", "better_response_id"), ("harmlessness", "safer_response_id")):
        choice = _ZERO_ONE.read(row.get(key))
        if not isinstance(choice, Unfit):
            marks.append(Mark(principle=principle, choice=choice))
    yield from read_votes(
        {"": row["better_response_id"]},
        _ZERO_ONE,
        kind="human",
        prompt=one_prompt(row["prompt"]),
        first=text_of(row["response_0"]),
        second=text_of(row["response_1"]),
        first_model=text_of(row.get("response_0_source")),
        second_model=text_of(row.get("response_1_source")),
        marks=tuple(marks),
        source=text_of(row.get("prompt_source")),
    )


def _icai_csv(row: Row) -> Reading:
    """ICAI's training CSV. Without an `input` both texts hold it: "Instruction: …\\n\\nOutput: …"."""
    first, second, prompt = text_of(row["text_a"]), text_of(row["text_b"]), text_of(row.get("input"))
    if not prompt:
        head, mark, _ = first.partition("\n\nOutput:")
        if mark and head.startswith("Instruction:") and second.startswith(head + mark):
            prompt = head.removeprefix("Instruction:").strip()
            first, second = (text.removeprefix(head + mark).strip() for text in (first, second))
    yield from read_votes(
        {"": row["preferred_text"]},
        _TEXT_A_B,
        kind="human",
        prompt=one_prompt(prompt),
        first=first,
        second=second,
        first_model=text_of(row.get("model_a")),
        second_model=text_of(row.get("model_b")),
    )


PANDALM = Format(
    name="pandalm",
    about="PandaLM's test set: `response1`, `response2`, `annotator1` … (0 tie, 1, 2)",
    keys=frozenset({"instruction", "response1", "response2", "annotator1"}),
    read=_pandalm,
)
PANDALM_VERDICTS = Format(
    name="pandalm-verdicts",
    about="a judge's verdicts on PandaLM's test set; the texts are in the test set (`--texts testset-v1.json`)",
    keys=frozenset({"idx"}),
    fits=_is_verdict,
    read=_pandalm_verdict,
    look_up=lambda row: text_of(row["idx"]),
    index=lambda path, number, row: text_of(row.get("idx")),
)
LLMBAR = Format(
    name="llmbar",
    about="LLMBar: `input`, `output_1`, `output_2`, `label` (1, 2)",
    keys=frozenset({"input", "output_1", "output_2", "label"}),
    read=_llmbar,
    rater="gold",
)
LLMBAR_JUDGMENTS = Format(
    name="llmbar-judgments",
    about="judges' winners on LLMBar in both orders; the texts are in its JSON files (`--texts Natural.json` …)",
    keys=frozenset({"subset", "index", "judge", "strategy", "winner_shown_ab", "winner_shown_ba"}),
    read=_llmbar_judgment,
    look_up=lambda row: f"{text_of(row['subset']).rpartition('/')[2]}/{text_of(row['index'])}",
    index=_llmbar_name,
)
ALPACA_EVAL = Format(
    name="alpaca-eval",
    about="alpaca_eval annotations: `instruction`, `output_1`, `output_2`, `preference` (1 to 2)",
    keys=frozenset({"instruction", "output_1", "output_2", "preference"}),
    read=_alpaca,
)
PKU = Format(
    name="pku-saferlhf",
    about="PKU-SafeRLHF: `response_0`, `response_1`, `better_response_id`, `safer_response_id`",
    keys=frozenset({"prompt", "response_0", "response_1", "better_response_id"}),
    read=_pku,
    rater="pku-saferlhf",
)
ICAI_CSV = Format(
    name="icai-csv",
    about="ICAI's CSV: `text_a`, `text_b`, `preferred_text`, and `input` where there is one",
    keys=frozenset({"text_a", "text_b", "preferred_text"}),
    read=_icai_csv,
    rater="preferred_text",
)
