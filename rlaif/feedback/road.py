"""The road of a run: what is asked about its prompts, and what follows from the answers. Pure functions of both.

Whatever is asked about a prompt rests on answers to that prompt alone. So a run of any size is a row of blocks, each
a few prompts with everything that belongs to them, and only what is looked at lies in memory. `generate` asks models
for what blocks want; `plan` walks the same blocks with stand-ins for answers that are not there yet.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from rlaif.constitution import Constitution
from rlaif.feedback.ask import Asking, Known, Model, look_up
from rlaif.feedback.choose import Choice, choose_pairs
from rlaif.feedback.critique import CritiqueStage, critique_stage
from rlaif.feedback.hear_pairs import label_judged
from rlaif.feedback.hearing import Hearing
from rlaif.feedback.judges import Judges, judges_of
from rlaif.feedback.mode import Heard, Mode, Pass, Values
from rlaif.feedback.pairing import NEAR_DUPLICATE, Pairing, count_near_duplicates, pair_up
from rlaif.feedback.sample import Sample, SampleStage, sample_stage
from rlaif.records import LabelledPair, Pair, Prompt, ResponsePair
from rlaif.settings import Settings
from rlaif.templates import Template

BLOCK_JUDGMENTS = 50_000  # about; some hundred megabytes with their texts
_BLOCKS_KEPT = 2  # so a run of few blocks works everything out once


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Who answers (one per policy of the settings, in order) and who judges; `others` are the judges beside `judge`."""

    policies: tuple[Model, ...]
    judge: Model
    others: tuple[Model, ...] = ()

    @property
    def judges(self) -> tuple[Model, ...]:
        """In the order they are asked."""
        return (*self.others, self.judge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """`mode` is what `judge` reads in a mode that has a template of its own; else it reads `judge`. `others` are what
    the judges beside it read."""

    judge: Template
    critique: Template
    mode: Template | None = None
    others: tuple[Template, ...] = ()

    @property
    def judges(self) -> tuple[Template, ...]:
        """In the order the judges are asked."""
        return (*self.others, self.mode or self.judge)


@dataclass(frozen=True, kw_only=True)
class Road:
    """Everything that decides what a run asks, but for its prompts and the answers."""

    settings: Settings
    constitution: Constitution
    models: Models
    templates: Templates

    def sampling(self, prompts: Sequence[Prompt]) -> list[SampleStage]:
        """What each policy is asked."""
        asked = zip(self.settings.policies, self.models.policies, strict=True)
        return [sample_stage(prompts, policy, model.identity) for policy, model in asked]

    @cached_property
    def judges(self) -> Judges:
        """Who judges, and how."""
        identities = [model.identity for model in self.models.judges]
        return judges_of(self.settings, self.constitution, identities, self.templates.judges)

    @property
    def mode(self) -> Mode:
        """How `judge` judges, whoever else does."""
        return self.judges.members[-1].mode

    @property
    def comparisons_per_prompt(self) -> int:
        """The most pairs of one prompt that are judged."""
        return self.judges.schedule.comparisons(sum(policy.samples for policy in self.settings.policies))

    def critiquing(self, pairs: Sequence[Pair]) -> CritiqueStage:
        """What is asked about the dataset's pairs: nothing where the settings want no critiques."""
        asked = pairs if self.settings.pairs.critiques == "dataset" else ()
        identity, template = self.models.judge.identity, self.templates.critique
        return critique_stage(asked, self.constitution, self.settings.judge, template=template, identity=identity)

    def label(self, pair: ResponsePair, heard: Sequence[Heard]) -> LabelledPair:
        """A pair's label: what each judge said in its mode, and what checks compute."""
        settings, floor = self.settings.label, self.settings.pairs.probability_floor
        judged = self.judges.verdicts(pair, heard, settings, floor)
        return label_judged(pair, judged, self.constitution, probability_floor=floor, settings=settings)

    def pair_up(
        self, prompts: Sequence[Prompt], samples: Sequence[Sample], stand_ins: Container[str] = frozenset()
    ) -> Pairing:
        """The pairs to judge of these prompts, without answers that say nearly the same if the settings want none."""
        return pair_up(samples, likeness=self.settings.cleaning.removed_likeness, stand_ins=stand_ins)

    def found_and_kept(self, samples: Sequence[Sample], stand_ins: Container[str] = frozenset()) -> dict[str, int]:
        """Answers that are judged although they say nearly the same as another, where the settings ask for a report."""
        wanted = self.settings.cleaning
        if wanted.near_duplicate_answers != "report":
            return {}
        return {NEAR_DUPLICATE: count_near_duplicates(samples, wanted.likeness, stand_ins)}

    def choose(self, labelled: Sequence[LabelledPair]) -> Choice:
        return choose_pairs(labelled, self.settings.pairs, judge=self.judges.name)


class Block:
    """Some prompts of a road. A property may be read once the models it rests on have answered; it is kept then."""

    def __init__(self, road: Road, prompts: Sequence[Prompt], known: Known) -> None:
        self.road, self.prompts, self.known = road, prompts, known

    @cached_property
    def sampling(self) -> list[SampleStage]:
        return self.road.sampling(self.prompts)

    @cached_property
    def samples(self) -> list[Sample]:
        """One per policy, prompt and index, in that order."""
        return [
            sample
            for stage in self.sampling
            for sample in stage.samples(look_up(stage.asking, self.known).values).values()
        ]

    @cached_property
    def pairing(self) -> Pairing:
        return self.road.pair_up(self.prompts, self.samples)

    @property
    def found_and_kept(self) -> dict[str, int]:
        """Answers that are in pairs although something speaks against it."""
        return self.road.found_and_kept(self.samples)

    @cached_property
    def hearing(self) -> Hearing:
        return Hearing(self.road.judges, self.pairing.pairs, self.answers)

    def judging(self, number: int) -> Pass:
        """What is asked in a sitting of the judges. It may be read once those before it have answers."""
        return self.hearing.judging(number)

    def answers(self, number: int) -> Values:
        """What is known of a sitting."""
        return look_up(self.judging(number).asking, self.known).values

    @property
    def compared(self) -> Sequence[ResponsePair]:
        """The pairs that the schedule has compared."""
        return self.hearing.compared

    @cached_property
    def heard(self) -> tuple[Heard, ...]:
        """What each judge said about them."""
        return tuple(self.hearing.heard(judge) for judge in range(len(self.road.judges.members)))

    @cached_property
    def labelled(self) -> tuple[LabelledPair, ...]:
        return tuple(self.road.label(pair, self.heard) for pair in self.compared)

    @cached_property
    def choice(self) -> Choice:
        return self.road.choose(self.labelled)

    @cached_property
    def critiquing(self) -> CritiqueStage:
        return self.road.critiquing(self.choice.pairs)

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs of the dataset, with their critiques where the settings want them."""
        stage = self.critiquing
        if not stage.places and not stage.computed:
            return self.choice.pairs
        return stage.attach(self.choice.pairs, look_up(stage.asking, self.known).values)

    def askings(self) -> Iterator[Asking]:
        """Everything that is asked about these prompts."""
        yield from (stage.asking for stage in self.sampling)
        yield from (self.judging(number).asking for number in range(len(self.road.judges.sittings)))
        yield self.critiquing.asking


B = TypeVar("B", bound=Block)


class Blocks(Generic[B]):
    """A run's prompts in blocks, to be gone through several times. Those of a large run are made anew each time."""

    def __init__(self, road: Road, prompts: Sequence[Prompt], make: Callable[[Sequence[Prompt]], B]) -> None:
        size = prompts_per_block(road)
        self._parts = [prompts[start : start + size] for start in range(0, len(prompts), size)]
        self._make = make
        self._kept = [make(part) for part in self._parts] if len(self._parts) <= _BLOCKS_KEPT else None

    def __iter__(self) -> Iterator[B]:
        return iter(self._kept) if self._kept is not None else map(self._make, self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def prompts_per_block(road: Road) -> int:
    samples = sum(policy.samples for policy in road.settings.policies)
    judgments = 2 * road.comparisons_per_prompt * len(road.constitution.enabled)  # both orders
    judgments *= sum(one.reasonings if one.mode == "reasoned" else 1 for one in road.settings.judges_in_order())
    return max(1, BLOCK_JUDGMENTS // max(judgments, samples, 1))
