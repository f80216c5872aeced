"""Formats that give each answer a score, or the pair a signed strength: SHP, WebGPT, HelpSteer 2 and 3, raw
UltraFeedback, and the comparisons of summarize-from-feedback with their confidence.
"""

from itertools import combinations
from typing import Any

from rlaif.labels.formats.base import Format, Reading, Row
from rlaif.labels.formats.values import Alphabet, by_score, messages_of, number_of, one_prompt, parsed, text_of
from rlaif.labels.label import Choice, Mark
from rlaif.labels.votes import Found, Unfit

_ONE_IS_FIRST = Alphabet(first=[1], second=[0])
_ZERO_IS_FIRST = Alphabet(first=[0], second=[1])
_NEITHER_IS_VALID = -100.0  # HelpSteer2: the annotator found neither answer fit to be compared


def _shp(row: Row) -> Reading:
    choice = _ONE_IS_FIRST.read(row["labels"])
    if isinstance(choice, Unfit):
        yield choice
        return
    yield Found(
        prompt=one_prompt(row["history"]),
        first=text_of(row["human_ref_A"]),
        second=text_of(row["human_ref_B"]),
        rater="",
        kind="human",
        choice=choice,
        strength=number_of(row.get("score_ratio")),
        tags=frozenset([text_of(row["domain"])] if row.get("domain") else []),
        item=f"{text_of(row.get('c_root_id_A'))}/{text_of(row.get('c_root_id_B'))}".strip("/"),
    )


def _webgpt(row: Row) -> Reading:
    question = parsed(row["question"])
    prompt = question.get("full_text") if isinstance(question, dict) else question
    scores = [number_of(row[f"score_{n}"]) for n in (0, 1)]
    if scores[0] is None or scores[1] is None:
        yield Unfit("no label")
        return
    yield Found(
        prompt=one_prompt(prompt),
        first=text_of(row["answer_0"]),
        second=text_of(row["answer_1"]),
        rater="",
        kind="human",
        choice=by_score(scores[0], scores[1]),
        strength=abs(scores[0] - scores[1]) / 2,  # score_0 is -score_1, each the strength from -1 to 1
        is_order_known=True,
        source=text_of(question.get("dataset")) if isinstance(question, dict) else "",
    )


def _summaries(row: Row) -> Reading:
    """The post is the prompt, under its title, as a task in words would be; CNN/DM rows have an article."""
    info, summaries = parsed(row["info"]), parsed(row["summaries"])
    if not isinstance(info, dict) or not isinstance(summaries, list) or len(summaries) != 2:
        yield Unfit("not an `info` with two `summaries`")
        return
    choice = _ZERO_IS_FIRST.read(row["choice"])
    if isinstance(choice, Unfit):
        yield choice
        return
    extra = parsed(row.get("extra")) or {}
    yield Found(
        prompt=one_prompt(info.get("title"), info.get("post") or info.get("article")),
        first=text_of(summaries[0].get("text")),
        second=text_of(summaries[1].get("text")),
        rater=text_of(row.get("worker")),
        kind="human",
        choice=choice,
        strength=number_of(extra.get("confidence")) if isinstance(extra, dict) else None,
        is_order_known=True,
        first_model=text_of(summaries[0].get("policy")),
        second_model=text_of(summaries[1].get("policy")),
        tags=frozenset([text_of(info["subreddit"])] if info.get("subreddit") else []),
    )


def _helpsteer(row: Row) -> Reading:
    """Every annotator's own vote where the row has them, else the published mean. Below 0, the first is better."""
    prompt = messages_of(parsed(row["context"])) if "context" in row else one_prompt(row.get("prompt"))
    if isinstance(prompt, Unfit):
        yield prompt
        return
    shared = {
        "prompt": prompt,
        "first": text_of(row.get("response_1", row.get("response1"))),
        "second": text_of(row.get("response_2", row.get("response2"))),
        "kind": "human",
        "is_order_known": True,
        "tags": frozenset(text_of(row[key]) for key in ("domain", "language") if row.get(key)),
    }
    single = parsed(row.get("all_preferences_unprocessed") or row.get("individual_preference"))
    if not isinstance(single, list) or not single:
        overall = row.get("preference_strength", row.get("overall_preference"))
        single = [{"score": overall, "reasoning": row.get("preference_statement")}]
        yield from _signed(single, [""], shared)
    else:
        yield from _signed(single, [f"annotator {number}" for number in range(1, len(single) + 1)], shared)


def _signed(votes: list[Any], raters: list[str], shared: dict[str, Any]) -> Reading:
    for rater, vote in zip(raters, votes, strict=True):
        signed = number_of(vote.get("strength", vote.get("score"))) if isinstance(vote, dict) else None
        part = rater if len(votes) > 1 else ""
        if signed is None:
            yield Unfit("no label", part)
        elif signed == _NEITHER_IS_VALID:
            yield Found(rater=rater, choice="both_bad", comment=_comment(vote), **shared)
        elif abs(signed) > 3:
            yield Unfit(f"a preference of {signed:g} is not in -3 to 3", part)
        else:
            choice = by_score(-signed, 0.0)
            yield Found(rater=rater, choice=choice, strength=abs(signed), comment=_comment(vote), **shared)


def _comment(vote: dict[str, Any]) -> str:
    keys = ("justification", "reasoning", "statement")
    return next((text for key in keys if (text := text_of(vote.get(key)))), "")


def _ultrafeedback(row: Row) -> Reading:
    """Every pair of the four completions, by GPT-4's overall score; its ratings of single aspects are marks."""
    completions = parsed(row["completions"])
    if not isinstance(completions, list) or len(completions) < 2:
        yield Unfit("fewer than two completions")
        return
    for (i, first), (j, second) in combinations(enumerate(completions), 2):
        scores = [number_of(side.get("overall_score")) for side in (first, second)]
        if scores[0] is None or scores[1] is None:
            yield Unfit("no label", f"completions {i} and {j}")
            continue
        yield Found(
            prompt=one_prompt(row["instruction"]),
            first=text_of(first.get("response")),
            second=text_of(second.get("response")),
            rater="",
            kind="judge",
            choice=by_score(scores[0], scores[1]),
            strength=abs(scores[0] - scores[1]),
            marks=tuple(_aspects(first, second)),
            first_model=text_of(first.get("model")),
            second_model=text_of(second.get("model")),
            source=text_of(row.get("source")),
        )


def _aspects(first: dict[str, Any], second: dict[str, Any]) -> list[Mark]:
    rated = [side.get("annotations") or {} for side in (first, second)]
    marks = []
    for aspect in sorted(rated[0].keys() & rated[1].keys()):
        ratings = [number_of((side[aspect] or {}).get("Rating")) for side in rated]
        if ratings[0] is None or ratings[1] is None:
            choice: Choice = "skipped"
            marks.append(Mark(principle=aspect, choice=choice))
        else:
            choice = by_score(ratings[0], ratings[1])
            marks.append(Mark(principle=aspect, choice=choice, strength=abs(ratings[0] - ratings[1])))
    return marks


SHP = Format(
    name="shp",
    about="Stanford Human Preferences: `history`, `human_ref_A`, `human_ref_B`, `labels` (1 is A)",
    keys=frozenset({"history", "human_ref_A", "human_ref_B", "labels"}),
    read=_shp,
    rater="reddit",
)
WEBGPT = Format(
    name="webgpt",
    about="WebGPT comparisons: `question`, `answer_0`, `answer_1`, `score_0`, `score_1`",
    keys=frozenset({"question", "answer_0", "answer_1", "score_0", "score_1"}),
    read=_webgpt,
    rater="webgpt",
)
SUMMARIES = Format(
    name="summarize-from-feedback",
    about="summarize-from-feedback comparisons: `info`, `summaries`, `choice` (0, 1), `worker`",
    keys=frozenset({"info", "summaries", "choice"}),
    read=_summaries,
)
HELPSTEER = Format(
    name="helpsteer",
    about="HelpSteer 2 and 3 preference: two responses, a strength from -3 (the first) to 3, each annotator's own",
    keys=frozenset(),
    fits=lambda row: (
        {"response_1", "response_2", "preference_strength"} <= row.keys()
        or {"context", "response1", "response2", "overall_preference"} <= row.keys()
    ),
    read=_helpsteer,
    rater="helpsteer",
)
ULTRAFEEDBACK = Format(
    name="ultrafeedback",
    about="UltraFeedback as it was made: `instruction`, `completions` with GPT-4's scores",
    keys=frozenset({"instruction", "completions"}),
    read=_ultrafeedback,
    rater="gpt-4",
)
