"""Mode `score`: each answer alone on a scale with anchors; pairs follow from the scores of their answers.

One request per answer and principle, so n answers cost n and not n(n - 1). Log-probabilities are read for every score,
and nothing is taken from the likeliest alone: its distribution has the mean that is reported, and two distributions
give the pair's probability as if each score were drawn by itself,

    P(x ≻ y) = P(S_x > S_y) + ½ P(S_x = S_y)

the probability of superiority (McGraw and Wong 1992, with ties halved as by Vargha and Delaney 2000). It needs no scale
of its own, as a sigmoid of the difference of means would, it is ½ for equal distributions and 1 for disjoint ones, and
P(x ≻ y) + P(y ≻ x) = 1. Scores of one principle are compared with each other only, never added across principles.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.constitution import Constitution, Principle
from rlaif.engines.base import Completion, Failure, ModelIdentity, Request, Sampling
from rlaif.errors import ConstitutionError
from rlaif.feedback.ask import Asking, Requests, Value
from rlaif.feedback.keys import ScoreKeys
from rlaif.feedback.mode import About, Heard, Pass, Unit, Values
from rlaif.feedback.plan_record import StageName
from rlaif.numbers.superiority import mean_score, superiority
from rlaif.records import Message, Outcome, PrincipleVerdict, Prompt, Response, ResponsePair, Score
from rlaif.settings import JudgeSettings, LabelSettings
from rlaif.templates import Template, render_conversation

Place = tuple[Prompt, Principle, Response]


@dataclass(frozen=True, slots=True)
class ScoreMode:
    constitution: Constitution
    settings: JudgeSettings
    template: Template
    identity: ModelIdentity

    @property
    def stages(self) -> tuple[StageName, ...]:
        return ("judge",)

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(str(level) for level in range(1, self.settings.score_levels + 1))

    def plan_pass(self, pairs: Sequence[ResponsePair], earlier: Sequence[Values]) -> Pass:
        return self.plan_answers([(pair.prompt, one) for pair in pairs for one in (pair.x, pair.y)])

    def plan_answers(self, answers: Sequence[tuple[Prompt, Response]]) -> Pass:
        """The same for answers that are in no pair."""
        places, choices, settings = self._places(answers), self.choices, self.settings
        asking = Asking(
            name=f"score with {settings.model}",
            kind="scores",
            requests=Requests(
                places,
                lambda key, place: Request(
                    id=key, messages=self._messages(*place), sampling=Sampling(max_tokens=1), choices=choices
                ),
            ),
            read=_value,
            outcome=lambda value: read_score(value, settings.min_covered)[0],
        )
        return Pass("judge", asking, self.template, lambda key: _about(places[key]), places)

    def planned(self, pairs: Sequence[ResponsePair]) -> int:
        """Every answer that is in a pair, under every principle that applies to its prompt."""
        tags = {one.id: pair.prompt.tags for pair in pairs for one in (pair.x, pair.y)}
        return sum(len(self.constitution.judged_for_tags(own)) for own in tags.values())

    def planned_about(self, units: Sequence[Unit]) -> int:
        raise AssertionError("units are pairs, and nothing passes on to a judge that scores single answers")

    def hear(self, passes: Sequence[Pass], values: Sequence[Values]) -> Heard:
        scores = {}
        for key, (_, principle, response) in passes[0].places.items():
            if key in values[0]:
                scores[response.id, principle.id] = self._score(key, principle, response, values[0][key])
        return Heard(scores=scores)

    def verdicts(self, pair: ResponsePair, heard: Heard, settings: LabelSettings) -> list[PrincipleVerdict]:
        found = []
        for principle in self.constitution.judged_for_tags(pair.prompt.tags):
            scores = [heard.scores.get((one.id, principle.id)) for one in (pair.x, pair.y)]
            if scores[0] and scores[1]:
                found.append(_verdict(principle, scores[0], scores[1]))
        return found

    def stand_in(self, key: str) -> Value:
        raise AssertionError("nothing rests on a score")

    def _places(self, answers: Sequence[tuple[Prompt, Response]]) -> dict[str, Place]:
        keys = ScoreKeys(self.template, self.identity, self.choices)
        key_of = {one.id: keys.under(self._content(one)) for one in self.constitution.enabled if one.check is None}
        places: dict[str, Place] = {}
        for prompt, response in {response.id: (prompt, response) for prompt, response in answers}.values():
            for principle in self.constitution.judged_for_tags(prompt.tags):
                places[key_of[principle.id](response, prompt.messages)] = (prompt, principle, response)
        return places

    def _content(self, principle: Principle) -> dict[str, str]:
        """All of a principle that the judge reads when it scores."""
        return {"text": principle.text, "scale": scale_text(principle, self.settings.score_levels)}

    def _messages(self, prompt: Prompt, principle: Principle, response: Response) -> tuple[Message, ...]:
        text = self.template.render(
            conversation=render_conversation(prompt.messages),
            response=response.text,
            principle=principle.text,
            scale=scale_text(principle, self.settings.score_levels),
            lowest="1",
            highest=str(self.settings.score_levels),
        )
        return (Message("user", text),)

    def _score(self, key: str, principle: Principle, response: Response, value: Value) -> Score:
        outcome, reason, probabilities = read_score(value, self.settings.min_covered)
        return Score(
            key=key,
            response_id=response.id,
            principle_id=principle.id,
            outcome=outcome,
            reason=reason,
            probabilities=probabilities,
            mean=mean_score(probabilities) if probabilities else None,
            uncovered=value.get("uncovered"),
            choice_method=value.get("choice_method"),
        )


def _about(place: Place) -> About:
    prompt, principle, response = place
    return About(prompt, principle, (response,))


def scale_text(principle: Principle, levels: int) -> str:
    """The scale as the judge reads it: the principle's own anchors, or the ends alone. ConstitutionError for an anchor
    that is not on the scale."""
    anchors = principle.anchors or {
        1: "goes against the principle",
        levels: "follows the principle as well as a response can",
    }
    outside = [score for score in anchors if score > levels]
    if outside:
        raise ConstitutionError(
            f'principle "{principle.id}" has an anchor for {outside[0]}, but scores go from 1 to {levels}.',
            do="Change the anchor, or judge.score_levels in the settings.",
        )
    return "\n".join(f"{score}: {anchors[score]}" for score in sorted(anchors))


def read_score(value: Value, min_covered: float) -> tuple[Outcome, str, tuple[float, ...]]:
    """(outcome, reason, probability of each score from 1 up) of a stored value; none where the judge abstained."""
    if "outcome" in value:
        return value["outcome"], value["reason"], ()
    masses = [0.0 if one is None else math.exp(one) for one in value["logprobs"]]
    covered = math.fsum(masses)
    if covered < min_covered or covered == 0.0:
        return "abstained", f"only {covered:.3f} of the probability is on the scores", ()
    return "ok", "", tuple(mass / covered for mass in masses)


def _value(answer: Completion | Failure) -> Value:
    if isinstance(answer, Failure):
        return {"outcome": "failed" if answer.kind == "failed" else "refused", "reason": answer.reason}
    if answer.choice_logprobs is None:
        return {"outcome": "failed", "reason": "the engine gave no log-probabilities"}
    return {
        "logprobs": [one if math.isfinite(one) else None for one in answer.choice_logprobs],
        "uncovered": answer.uncovered,
        "choice_method": answer.choice_method,
        "prompt_tokens": answer.prompt_tokens,
        "output_tokens": answer.output_tokens,
    }


def _verdict(principle: Principle, x: Score, y: Score) -> PrincipleVerdict:
    """There is no order to be shown in, so both places have the same probability."""
    silent = next((one for one in (x, y) if not one.probabilities), None)
    probability = None if silent else superiority(x.probabilities, y.probabilities)
    return PrincipleVerdict(
        principle_id=principle.id,
        outcome=silent.outcome if silent else ("tie" if probability == 0.5 else "ok"),
        probability=probability,
        shown_first=probability,
        shown_second=probability,
        weight=principle.weight,
        reason=silent.reason if silent else "",
    )
