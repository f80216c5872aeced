"""A road whose pairs are given: nobody answers prompts, and the judges judge what is there. What `rlaif labels judge`
asks about people's pairs.

Plan, asking, counting and keys are those of a run, so what a run judged already costs nothing here, and the other way
round.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rlaif.constitution import Constitution
from rlaif.feedback.pairing import Pairing
from rlaif.feedback.road import Models, Road, Templates
from rlaif.feedback.sample import Sample, SampleStage
from rlaif.records import Prompt, ResponsePair
from rlaif.settings import ScheduleSettings, Settings


@dataclass(frozen=True, kw_only=True)
class GivenRoad(Road):
    """`given`: the pairs of each prompt, by its id."""

    given: Mapping[str, tuple[ResponsePair, ...]]

    def sampling(self, prompts: Sequence[Prompt]) -> list[SampleStage]:
        return []

    def pair_up(
        self, prompts: Sequence[Prompt], samples: Sequence[Sample], stand_ins: Container[str] = frozenset()
    ) -> Pairing:
        return Pairing(pairs=tuple(pair for prompt in prompts for pair in self.given[prompt.id]), left_out={})

    @property
    def comparisons_per_prompt(self) -> int:
        return max(map(len, self.given.values()), default=1)


def given_road(
    settings: Settings, constitution: Constitution, models: Models, templates: Templates, pairs: Iterable[ResponsePair]
) -> tuple[GivenRoad, tuple[Prompt, ...]]:
    """The road of these pairs, and its prompts in the order of their ids. All pairs are judged, and none criticised."""
    given: defaultdict[str, list[ResponsePair]] = defaultdict(list)
    for pair in pairs:
        given[pair.prompt.id].append(pair)
    wanted = settings.model_copy(
        update={
            "policies": (),
            "schedule": ScheduleSettings(),
            "pairs": settings.pairs.model_copy(update={"critiques": "none"}),
        }
    )
    road = GivenRoad(
        settings=wanted,
        constitution=constitution,
        models=Models(policies=(), judge=models.judge, others=models.others),
        templates=templates,
        given={prompt: tuple(own) for prompt, own in given.items()},
    )
    return road, tuple(given[prompt][0].prompt for prompt in sorted(given))
