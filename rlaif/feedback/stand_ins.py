"""Stand-ins for what is not known yet, so that a plan can walk the same road as the run it is for.

An answer that has still to be drawn is stood in for by a text of the expected length, a verdict that has still to be
given by a label that favours nobody in particular. What is asked about stand-ins is an estimate, and is marked so.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rlaif.constitution import Constitution
from rlaif.feedback.ask import Value
from rlaif.feedback.cost import Output
from rlaif.feedback.sample import Sample, SampleStage
from rlaif.records import LabelledPair, Prompt, Response

_WORD = " the"  # one token in nearly every vocabulary


@dataclass(frozen=True, slots=True)
class Expected:
    """What answers of a policy are like: the length of any, the tokens of one that is compared, the share that is."""

    any_answer: Output
    compared_tokens: float
    compared_share: float


@dataclass
class Answered:
    """The stored answers of a policy, added up; `max_tokens` is the limit it answers under."""

    max_tokens: int
    answers: int = 0
    tokens: int = 0
    compared: int = 0
    compared_tokens: int = 0

    def add(self, stage: SampleStage, values: Mapping[str, Value]) -> None:
        samples = stage.samples(values)
        distinct = {sample.response.id: sample.response for sample in samples.values() if sample.response}
        self.answers += len(samples)
        self.tokens += sum(values[key]["output_tokens"] for key in samples)
        self.compared += len(distinct)
        self.compared_tokens += sum(response.output_tokens for response in distinct.values())

    def expected(self) -> Expected:
        """As the answers there are; half the limit where there are none."""
        if not self.answers:
            half = self.max_tokens / 2
            return Expected(Output(half, is_measured=False), half, 1.0)
        mean = self.tokens / self.answers
        compared = self.compared_tokens / self.compared if self.compared else mean
        return Expected(Output(mean, is_measured=True), compared, self.compared / self.answers)


def fill_in(stage: SampleStage, values: Mapping[str, Value], expected: Expected) -> dict[str, Sample]:
    """All samples of a stage by key, in their order, with stand-ins for those that have no value yet.

    As large a share of the stand-ins is comparable as of the known answers. Which ones, their keys decide: as in life,
    some prompts then have fewer answers to compare, and so far fewer pairs.
    """
    filled = stage.samples(values)
    for key, (prompt, index) in stage.places.items():
        if key not in values:
            is_compared = int(key[:8], 16) < expected.compared_share * 16**8
            response = _response(key, prompt, index, stage.policy.model, expected) if is_compared else None
            filled[key] = Sample(prompt, "ok" if response else "truncated", "", response)
    return {key: filled[key] for key in stage.places}


def _response(key: str, prompt: Prompt, index: int, policy: str, expected: Expected) -> Response:
    num_tokens = max(1, round(expected.compared_tokens))
    return Response(
        prompt_id=prompt.id,
        text=f"{key[:4]}{_WORD * (num_tokens - 1)}",
        policy=policy,
        sample_index=index,
        finish_reason="stop",
        prompt_tokens=0,
        output_tokens=num_tokens,
    )


def likely_label(label: LabelledPair, constitution: Constitution) -> LabelledPair:
    """The label as it is; where no principle has spoken yet, one that the first principle to be asked decides."""
    if label.probability is not None:
        return label
    first = constitution.for_tags(label.pair.prompt.tags)[:1]
    return LabelledPair(label.pair, (), 1.0, {principle.id: 1.0 for principle in first}) if first else label
