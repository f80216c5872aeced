"""How one label came about: the prompts the judge saw, what it gave, and every step from there to the label.

Nothing is told from memory. The prompts are rendered again from what the run saved (settings, constitution,
templates), their keys are computed again, and the log-probabilities are those the store holds under these keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rlaif.constitution import Constitution
from rlaif.engines.base import Request
from rlaif.feedback.aggregate import label_verdicts
from rlaif.feedback.ask import Known, look_up
from rlaif.feedback.check_verdicts import in_order
from rlaif.feedback.finished import pair_of_row, read_finished
from rlaif.feedback.hearing import Hearing
from rlaif.feedback.judges import Judges
from rlaif.feedback.mode import About, Heard
from rlaif.numbers.pooling import log_odds
from rlaif.records import Judgment, LabelledPair, PrincipleVerdict, ResponsePair, Score
from rlaif.settings import LabelSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request to a judge. `shown_first` is x or y; `probability_x` is P(x is better), whichever stood first.

    `reasons` are the judge's own words up to its verdict; `score` is the mean of a response that was scored alone.
    """

    key: str
    judge: str
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
    reasons: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSaid:
    """One of several judges on one principle: the mean of its orders, and its weight in the pool."""

    judge: str
    probability: float | None
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipleStep:
    """One principle: both orders, their mean, the mean's log-odds within the floor, and what it adds to the label.
    One with a check was computed: it has no orders. `judges` are those that were asked, where there are several: then
    `probability` is pooled from theirs."""

    principle_id: str
    orders: tuple[Seen, ...]
    probability: float | None
    log_odds: float | None
    weight: float
    share: float | None
    judges: tuple[JudgeSaid, ...] = ()


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
    pool: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(folder: Path, row: Mapping[str, Any], known: Known) -> Explanation:
    """Explain a row of a run's labels.parquet."""
    run = read_finished(folder)
    settings, constitution, judges = run.settings, run.constitution, run.judges
    pair = pair_of_row(row)
    asked, heard = _walk(judges, pair, known)
    floor, kind = settings.pairs.probability_floor, settings.label
    judged = judges.verdicts(pair, heard, kind, floor)
    verdicts = in_order([*judged, *computed(row, constitution)], constitution)
    label = label_verdicts(pair, verdicts, probability_floor=floor, settings=kind)
    steps = _steps(_seen_by_principle(pair, asked, heard), label, constitution, floor)
    if judges.are_several:
        said = _said(judges, pair, heard, kind)
        steps = tuple(replace(step, judges=_judges_of(step, judges, said)) for step in steps)
    found = _explanation(pair, label, steps, floor, kind.kind, row["probability_x"])
    return replace(found, pool=settings.judges.pool) if judges.are_several else found


def _walk(judges: Judges, pair: ResponsePair, known: Known) -> tuple[list[tuple[str, Request, About]], list[Heard]]:
    """The requests that ended in a verdict or in its lack, each with its judge, and what came of them: every sitting
    as the run held it."""
    hearing = Hearing(judges, [pair], lambda number: look_up(hearing.judging(number).asking, known).values)
    ends: dict[str, tuple[str, Request, About]] = {}
    for number, sitting in enumerate(judges.sittings):
        asked = hearing.judging(number)
        for key in asked.asking.requests:
            ends.pop(asked.rests_on.get(key, ""), None)
            ends[key] = (judges.members[sitting.judge].name, asked.asking.requests[key], asked.about(key))
    return list(ends.values()), [hearing.heard(judge) for judge in range(len(judges.members))]


def _said(
    judges: Judges, pair: ResponsePair, heard: Sequence[Heard], settings: LabelSettings
) -> dict[tuple[str, str], float | None]:
    """What each judge said on each principle, as the label takes it."""
    return {
        (member.name, verdict.principle_id): verdict.probability
        for member, own in zip(judges.members, heard, strict=True)
        for verdict in member.mode.verdicts(pair, own, settings)
    }


def _judges_of(
    step: PrincipleStep, judges: Judges, said: Mapping[tuple[str, str], float | None]
) -> tuple[JudgeSaid, ...]:
    """The judges that were asked about a principle, in their order; those that failed said nothing."""
    asked = {seen.judge for seen in step.orders}
    return tuple(
        JudgeSaid(judge=one.name, probability=said.get((one.name, step.principle_id)), weight=one.weight)
        for one in judges.members
        if one.name in asked
    )


def _seen_by_principle(
    pair: ResponsePair, asked: Sequence[tuple[str, Request, About]], heard: Sequence[Heard]
) -> dict[str, list[Seen]]:
    judgments = {one.key: one for every in heard for own in every.judgments.values() for one in own}
    scores = {one.key: one for every in heard for one in every.scores.values()}
    seen: dict[str, list[Seen]] = {}
    for judge, request, about in asked:
        is_x_first = about.responses[0].id == pair.x.id
        one = _seen(judge, request, judgments.get(request.id) or scores.get(request.id), is_x_first)
        seen.setdefault(about.principle.id, []).append(one)
    return seen


def computed(row: Mapping[str, Any], constitution: Constitution) -> list[PrincipleVerdict]:
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


def _steps(
    seen: Mapping[str, Sequence[Seen]],
    label: LabelledPair,
    constitution: Constitution,
    floor: float,
) -> tuple[PrincipleStep, ...]:
    verdicts = {verdict.principle_id: verdict for verdict in label.verdicts}
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


def _seen(judge: str, request: Request, found: Judgment | Score | None, is_x_first: bool) -> Seen:
    judgment = found if isinstance(found, Judgment) else None
    score = found if isinstance(found, Score) else None
    probability = judgment.probability_a if judgment else None
    return Seen(
        key=request.id,
        judge=judge,
        shown_first="x" if is_x_first else "y",
        prompt="\n\n".join(message.content for message in request.messages),
        is_stored=found is not None,
        outcome=found.outcome if found else "failed",
        reason=found.reason if found else "not in the store: it failed, was refused, or the store was cleared",
        logprob_a=judgment.logprob_a if judgment else None,
        logprob_b=judgment.logprob_b if judgment else None,
        uncovered=found.uncovered if found else None,
        choice_method=found.choice_method if found else None,
        probability_a=probability,
        probability_x=probability if probability is None or is_x_first else 1.0 - probability,
        reasons=request.prefill,
        score=score.mean if score else None,
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
