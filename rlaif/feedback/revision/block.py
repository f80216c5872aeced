"""Some prompts of a run of revisions: first answers, rounds, and the pairs that are judged.

It is a `Block` of the main road whose pairs are not answers against each other, but every revision against the answer
it goes back to. So pairs are judged and labelled as all pairs are, in whatever way the settings want.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from rlaif.feedback.ask import Asking, Known, Model, Value, look_up
from rlaif.feedback.pairing import Pairing
from rlaif.feedback.revision.draw import Asked, asked_under, draw_principle, eligible
from rlaif.feedback.revision.rounds import (
    Chain,
    Turn,
    Writer,
    WritingStage,
    begin_round,
    revised,
    to_criticise,
    to_revise,
)
from rlaif.feedback.road import Block, Blocks, Road
from rlaif.records import LabelledPair, Prompt, Response, ResponsePair
from rlaif.settings import RevisionSettings, ScheduleSettings, Settings
from rlaif.templates import Template

_DRAWS_KEPT = 1  # of each policy's answers to a prompt, the first is revised


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionTemplates:
    critique: Template
    revise: Template


@dataclass(frozen=True, kw_only=True)
class RevisionRoad:
    """Everything that decides what a run of revisions asks, but for its prompts and the answers.

    `road` is that of the first answers and of judging (`revision_settings`). `writer` criticises and rewrites; None:
    each policy its own answers.
    """

    road: Road
    writer: Model | None
    templates: RevisionTemplates

    @property
    def settings(self) -> RevisionSettings:
        return self.road.settings.revision

    def writer_of(self, number: int) -> Model:
        """Who works on the answers of the policy with this number."""
        return self.writer or self.road.models.policies[number]

    def critic(self, number: int) -> Writer:
        return self._asked(number, "critique", self.templates.critique, self.settings.critique_max_tokens)

    def reviser(self, number: int) -> Writer:
        return self._asked(number, "revision", self.templates.revise, self.settings.revision_max_tokens)

    def _asked(self, number: int, what: Literal["critique", "revision"], template: Template, max_tokens: int) -> Writer:
        model = self.writer_of(number)
        return Writer(
            kind="critiques_of_answers" if what == "critique" else "revisions",
            what=what,
            model=model.name,
            identity=model.identity,
            template=template,
            temperature=self.settings.temperature,
            max_tokens=max_tokens,
        )

    def draw(self, prompt: Prompt, number: int) -> Asked | None:
        principle = draw_principle(prompt, number, eligible(self.road.constitution, prompt, self.settings))
        return asked_under(principle) if principle else None


def revision_settings(settings: Settings) -> Settings:
    """The settings of the road below: one answer of each policy, every pair judged and with a label, no comparisons in
    words."""
    policies = tuple(policy.model_copy(update={"samples": _DRAWS_KEPT}) for policy in settings.policies)
    pairs = settings.pairs.model_copy(update={"rule": "all", "max_pairs_per_prompt": None, "critiques": "none"})
    return settings.model_copy(update={"policies": policies, "pairs": pairs, "schedule": ScheduleSettings()})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a judged pair comes from: the answer's chain, and the round that gave the revision."""

    chain: Chain
    turn: Turn

    @property
    def original(self) -> Response:
        assert self.chain.sample.response is not None
        return self.chain.sample.response

    @property
    def ends(self) -> frozenset[str]:
        """The ids of the first answer and of the revision: a pair, whichever came first."""
        return frozenset((self.original.id, self.turn.after.id))

    def probability(self, label: LabelledPair, principle_id: str | None = None) -> float | None:
        """P(the revision is better) by the label, or by one principle's verdict; None without one."""
        found = label.probability
        if principle_id is not None:
            own = [verdict.probability for verdict in label.verdicts if verdict.principle_id == principle_id]
            found = own[0] if own else None
        if found is None:
            return None
        return found if label.pair.x.id == self.turn.after.id else 1.0 - found


class RevisionBlock(Block):
    """A property or stage may be read once the models it rests on have answered; it is kept then."""

    def __init__(self, revising: RevisionRoad, prompts: Sequence[Prompt], known: Known) -> None:
        super().__init__(revising.road, prompts, known)
        self.revising = revising
        self._stages: dict[tuple[str, int, int], WritingStage] = {}
        self._chains: dict[tuple[int, int], list[Chain]] = {}

    def values(self, asking: Asking) -> Mapping[str, Value]:
        """What is known of these requests."""
        return look_up(asking, self.known).values

    # --- rounds: `policy` and `number` (from 1) name one

    def chains(self, policy: int, number: int) -> list[Chain]:
        """A policy's answers after so many rounds, one for each prompt, in their order."""
        if (policy, number) not in self._chains:
            self._chains[policy, number] = self._after(policy, number) if number else self._first(policy)
        return self._chains[policy, number]

    def _first(self, policy: int) -> list[Chain]:
        stage = self.sampling[policy]
        return [Chain(sample) for sample in stage.samples(self.values(stage.asking)).values()]

    def _after(self, policy: int, number: int) -> list[Chain]:
        stage, writer = self.revisions(policy, number), self.revising.writer_of(policy).name
        written = stage.written(self.values(stage.asking))
        before, turns = self.chains(policy, number - 1), self._criticised(policy, number)
        return [
            chain if turn is None else replace(chain, turns=(*chain.turns, revised(turn, revision, writer)))
            for chain, turn, revision in zip(before, turns, written, strict=True)
        ]

    def critiques(self, policy: int, number: int) -> WritingStage:
        """What is asked about the answers of a round."""
        if ("critique", policy, number) not in self._stages:
            wanted = [to_criticise(*begun) for begun in self._begun(policy, number)]
            name = f"criticise with {self.revising.writer_of(policy).name}, round {number}"
            self._stages["critique", policy, number] = self.revising.critic(policy).stage(name, wanted)
        return self._stages["critique", policy, number]

    def revisions(self, policy: int, number: int) -> WritingStage:
        """What is asked of a round once its critiques are there."""
        if ("revise", policy, number) not in self._stages:
            before = self.chains(policy, number - 1)
            turns = self._criticised(policy, number)
            wanted = [to_revise(chain.prompt, turn) for chain, turn in zip(before, turns, strict=True)]
            name = f"revise with {self.revising.writer_of(policy).name}, round {number}"
            self._stages["revise", policy, number] = self.revising.reviser(policy).stage(name, wanted)
        return self._stages["revise", policy, number]

    def _begun(self, policy: int, number: int) -> list[tuple[Prompt, Turn | None]]:
        before = self.chains(policy, number - 1)
        return [(chain.prompt, begin_round(chain, number, self.revising.draw)) for chain in before]

    def _criticised(self, policy: int, number: int) -> list[Turn | None]:
        stage = self.critiques(policy, number)
        written = stage.written(self.values(stage.asking))
        begun = self._begun(policy, number)
        return [turn and replace(turn, critique=critique) for (_, turn), critique in zip(begun, written, strict=True)]

    # --- what comes of them

    @cached_property
    def revised(self) -> list[Chain]:
        """All chains after the last round: prompt by prompt, in the order of the policies."""
        rounds = self.revising.settings.rounds
        by_policy = [self.chains(policy, rounds) for policy in range(len(self.sampling))]
        return [chain for own in zip(*by_policy, strict=True) for chain in own]

    @cached_property
    def origins(self) -> dict[str, Origin]:
        """Every revision against its original, by the id of the pair, in the order of the chains."""
        found: dict[str, Origin] = {}
        for pair, origin in self._pairs():
            if pair is not None:
                found.setdefault(pair.id, origin)
        return found

    @cached_property
    def pairing(self) -> Pairing:
        """The pairs to judge. `left_out`: answers and rounds that gave none, by reason."""
        left_out: Counter[str] = Counter()
        pairs: dict[str, ResponsePair] = {}
        for chain in self.revised:
            if chain.sample.response is None:
                left_out[f"answer {chain.sample.outcome}"] += 1
            left_out.update(f"round {turn.number}: {turn.ending}" for turn in chain.turns if not turn.is_changed)
        for pair, origin in self._pairs():
            if pair is None:
                left_out[f"round {origin.turn.number}: revised back to the original"] += 1
            elif pair.id in pairs:
                left_out[f"round {origin.turn.number}: the same pair as another"] += 1
            else:
                pairs[pair.id] = pair
        return Pairing(tuple(pairs.values()), dict(left_out))

    def _pairs(self) -> Iterator[tuple[ResponsePair | None, Origin]]:
        """For every round that changed its answer, the pair it gives; None where it led back to the original."""
        for chain in self.revised:
            for turn in (turn for turn in chain.turns if turn.is_changed):
                origin = Origin(chain, turn)
                ends = sorted((origin.original, turn.after), key=lambda response: response.id)
                is_pair = turn.after.text.strip() != origin.original.text.strip()
                yield (ResponsePair(chain.prompt, *ends) if is_pair else None), origin

    def writing(self) -> Iterator[WritingStage]:
        """Critiques and revisions of all rounds."""
        for policy in range(len(self.sampling)):
            for number in range(1, self.revising.settings.rounds + 1):
                yield self.critiques(policy, number)
                yield self.revisions(policy, number)

    def askings(self) -> Iterator[Asking]:
        yield from super().askings()
        yield from (stage.asking for stage in self.writing())


def sizing_road(revising: RevisionRoad) -> Road:
    """A road with as many answers to compare as a chain has, so that blocks come out as large as elsewhere."""
    road, answers = revising.road, revising.settings.rounds + 1
    policies = tuple(policy.model_copy(update={"samples": answers}) for policy in road.settings.policies)
    return replace(road, settings=road.settings.model_copy(update={"policies": policies}))


def revision_blocks(revising: RevisionRoad, prompts: Sequence[Prompt], known: Known) -> Blocks[RevisionBlock]:
    return Blocks(sizing_road(revising), prompts, lambda part: RevisionBlock(revising, part, known))
