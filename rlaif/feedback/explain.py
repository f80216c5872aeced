"""How one label came about: the prompts the judge saw, what it gave, and every step from there to the label.

Nothing is told from memory. The prompts are rendered again from what the run saved (settings, constitution,
templates), their keys are computed again, and the log-probabilities are those the store holds under these keys.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlaif.constitution import Constitution, load_constitution
from rlaif.engines.base import ModelIdentity, Request
from rlaif.feedback.aggregate import compared, label_verdicts
from rlaif.feedback.ask import Known, look_up
from rlaif.feedback.check_verdicts import in_order
from rlaif.feedback.judge import JudgeStage, judge_stage
from rlaif.feedback.previous import read_settings, read_templates
from rlaif.numbers.pooling import log_odds
from rlaif.records import Judgment, LabelledPair, Message, PrincipleVerdict, Prompt, Response, ResponsePair


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request to the judge. `shown_first` is x or y; `probability_x` is P(x is better), whichever stood first."""

    key: str
    shown_first: str
    prompt: str
    is_stored: bool
    outcome: str
    reason: str
    logprob_a: float | None
    logprob_b: float | None
    uncovered: float | None
    choice_method: str | None
    probability_a: float | None
    probability_x: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipleStep:
    """One principle: both orders, their mean, the mean's log-odds within the floor, and what it adds to the label.
    One with a check was computed: it has no orders."""

    principle_id: str
    orders: tuple[Seen, ...]
    probability: float | None
    log_odds: float | None
    weight: float
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A label, from the judge's numbers. `recorded` is the probability in labels.parquet: it must be the same."""

    pair_id: str
    conversation: tuple[dict[str, str], ...]
    response_x: str
    response_y: str
    steps: tuple[PrincipleStep, ...]
    floor: float
    label_kind: str
    total_weight: float
    log_odds: float | None
    probability_x: float | None
    recorded: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(folder: Path, row: Mapping[str, Any], known: Known) -> Explanation:
    """Explain a row of a run's labels.parquet."""
    settings, templates = read_settings(folder), read_templates(folder)
    constitution = load_constitution(folder / "constitution.yaml")
    summary = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    pair = _pair(row)
    identity = ModelIdentity(**summary["judge"])
    stage = judge_stage([pair], constitution, settings.judge, template=templates.judge, identity=identity)
    values = look_up(stage.asking, known).values
    judgments = {one.key: one for one in stage.judgments(values).get(pair.id, ())}
    floor, kind = settings.pairs.probability_floor, settings.label
    judged = compared(pair, list(judgments.values()), constitution)
    verdicts = in_order([*judged, *_computed(row, constitution)], constitution)
    label = label_verdicts(pair, verdicts, probability_floor=floor, settings=kind)
    steps = _steps(stage, judgments, label, constitution, floor)
    return _explanation(pair, label, steps, floor, kind.kind, row["probability_x"])


def _computed(row: Mapping[str, Any], constitution: Constitution) -> list[PrincipleVerdict]:
    """What checks said, as the run recorded it: the references they may have compared with are not in its folder."""
    checks = {principle.id for principle in constitution.principles if principle.check is not None}
    return [
        PrincipleVerdict(
            principle_id=one["id"],
            outcome=one["outcome"],
            probability=one["probability"],
            shown_first=one["shown_first"],
            shown_second=one["shown_second"],
            weight=one["weight"],
        )
        for one in row["principles"]
        if one["id"] in checks
    ]


def _pair(row: Mapping[str, Any]) -> ResponsePair:
    """The pair as it was judged; its ids follow from its texts."""
    messages = tuple(Message(one["role"], one["content"]) for one in row["prompt"])
    prompt = Prompt(messages=messages, tags=frozenset(row["tags"]))
    x, y = (_response(prompt.id, row[name]) for name in ("response_x", "response_y"))
    return ResponsePair(prompt, x, y)


def _response(prompt_id: str, text: str) -> Response:
    return Response(
        prompt_id=prompt_id,
        text=text,
        policy="",
        sample_index=0,
        finish_reason="stop",
        prompt_tokens=0,
        output_tokens=0,
    )


def _steps(
    stage: JudgeStage,
    judgments: Mapping[str, Judgment],
    label: LabelledPair,
    constitution: Constitution,
    floor: float,
) -> tuple[PrincipleStep, ...]:
    verdicts = {verdict.principle_id: verdict for verdict in label.verdicts}
    seen: dict[str, list[Seen]] = {}
    for key, (pair, principle, first, _) in stage.places.items():
        is_x_first = first.id == pair.x.id
        seen.setdefault(principle.id, []).append(_seen(stage.asking.requests[key], judgments.get(key), is_x_first))
    steps = []
    for principle in constitution.principles:
        name = principle.id
        if name not in seen and name not in verdicts:
            continue
        probability = verdicts[name].probability if name in verdicts else None
        steps.append(
            PrincipleStep(
                principle_id=name,
                orders=tuple(seen.get(name, ())),
                probability=probability,
                log_odds=None if probability is None else log_odds(probability, floor),
                weight=principle.weight,
                share=label.shares.get(name),
            )
        )
    return tuple(steps)


def _seen(request: Request, judgment: Judgment | None, is_x_first: bool) -> Seen:
    probability = judgment.probability_a if judgment else None
    return Seen(
        key=request.id,
        shown_first="x" if is_x_first else "y",
        prompt="\n\n".join(message.content for message in request.messages),
        is_stored=judgment is not None,
        outcome=judgment.outcome if judgment else "failed",
        reason=judgment.reason if judgment else "not in the store: it failed, was refused, or the store was cleared",
        logprob_a=judgment.logprob_a if judgment else None,
        logprob_b=judgment.logprob_b if judgment else None,
        uncovered=judgment.uncovered if judgment else None,
        choice_method=judgment.choice_method if judgment else None,
        probability_a=probability,
        probability_x=probability if probability is None or is_x_first else 1.0 - probability,
    )


def _explanation(
    pair: ResponsePair,
    label: LabelledPair,
    steps: tuple[PrincipleStep, ...],
    floor: float,
    kind: str,
    recorded: float | None,
) -> Explanation:
    return Explanation(
        pair_id=pair.id,
        conversation=tuple(message.as_dict() for message in pair.prompt.messages),
        response_x=pair.x.text,
        response_y=pair.y.text,
        steps=steps,
        floor=floor,
        label_kind=kind,
        total_weight=sum(step.weight for step in steps if step.share is not None),
        log_odds=sum(label.shares.values()) if label.shares else None,
        probability_x=label.probability,
        recorded=recorded,
    )
