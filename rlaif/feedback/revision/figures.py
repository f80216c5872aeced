"""What a run of revisions says of itself: the figures of `revisions.json`. Pure functions of the blocks.

A revision is never taken to be better: how often the judge says so is a figure, by round and by the principle drawn
for it, for the label of the whole constitution and for the drawn principle alone. The pair is always the revision
against the first answer, so from the second round on a principle's figure holds what earlier rounds did as well.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from rlaif import __version__
from rlaif.feedback.counts import Ledger, RunCount, most_first
from rlaif.feedback.revision.block import Origin, RevisionBlock, RevisionRoad
from rlaif.feedback.revision.draw import eligible
from rlaif.feedback.revision.examples import choose_examples
from rlaif.feedback.revision.rounds import Chain, Turn
from rlaif.numbers.clustered_share import ClusteredShare
from rlaif.records import LabelledPair, Outcome

At = tuple[int, str | None]  # a round, and the principle drawn for it; None for all of them


@dataclass
class Preference:
    """How the judge saw some revisions beside their originals."""

    share: ClusteredShare = field(default_factory=ClusteredShare)
    original: int = 0
    no_verdict: int = 0

    def add(self, probabilities: Sequence[float | None]) -> None:
        """P(the revision is better) of all pairs of a prompt."""
        heard = [probability for probability in probabilities if probability is not None]
        preferred = sum(probability > 0.5 for probability in heard)
        self.share.add(preferred, len(heard))
        self.original += sum(probability < 0.5 for probability in heard)
        self.no_verdict += len(probabilities) - len(heard)

    def as_json(self) -> dict[str, Any]:
        """`share`: revisions preferred, of all pairs with a verdict; its interval is Wilson's, clustered by prompt."""
        revision, judged, figure = self.share.successes, self.share.rows, self.share.figure().as_dict()
        return {
            "pairs": judged + self.no_verdict,
            "prompts": self.share.clusters,
            "revision": revision,
            "original": self.original,
            "tie": judged - revision - self.original,
            "no_verdict": self.no_verdict,
            "share": figure["value"],
            "low": figure["low"],
            "high": figure["high"],
        }


@dataclass
class RevisionFigures:
    """What a run's blocks add up to."""

    rounds: int
    count: RunCount = field(default_factory=RunCount)
    critiques: defaultdict[int, Ledger] = field(default_factory=lambda: defaultdict(Ledger))
    revisions: defaultdict[int, Ledger] = field(default_factory=lambda: defaultdict(Ledger))
    endings: defaultdict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_label: defaultdict[At, Preference] = field(default_factory=lambda: defaultdict(Preference))
    by_principle: defaultdict[At, Preference] = field(default_factory=lambda: defaultdict(Preference))
    answers: int = 0
    examples: int = 0
    no_examples: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    chosen_revisions: int = 0

    def add(self, block: RevisionBlock) -> None:
        self.count.add(block)
        answered = [chain for chain in block.revised if chain.sample.response is not None]
        self.answers += len(answered)
        for number in range(1, self.rounds + 1):
            self._add_round(number, answered, block.revising)
        for _, own in groupby(block.labelled, key=lambda label: label.pair.prompt.id):
            self._add_prompt([(label, block.origins[label.pair.id]) for label in own])
        chosen = choose_examples(block)
        self.examples += len(chosen.kept)
        self.no_examples.update(chosen.left_out)
        assert self.examples + self.no_examples.total() == self.answers, "an answer ended twice, or not at all"
        self.pairs += len(block.pairs)
        self.chosen_revisions += sum(block.origins[pair.id].turn.after.id == pair.chosen.id for pair in block.pairs)

    def _add_round(self, number: int, answered: list[Chain], revising: RevisionRoad) -> None:
        """The round's books. AssertionError when they do not balance."""
        turns = [chain.turns[number - 1] for chain in answered]
        prompts = [chain.prompt for chain in answered]
        constitution, settings = revising.road.constitution, revising.settings
        planned = sum(bool(eligible(constitution, prompt, settings)) for prompt in prompts)
        critiques = [turn.critique for turn in turns if turn.critique is not None]
        self.critiques[number].add(planned, ((one.outcome, one.reason) for one in critiques))
        written = sum(one.outcome == "ok" for one in critiques)
        self.revisions[number].add(written, _revisions(turns))
        self.endings[number].update(turn.ending for turn in turns)

    def _add_prompt(self, labelled: Sequence[tuple[LabelledPair, Origin]]) -> None:
        """The pairs of one prompt. A round draws one principle for all answers to it."""
        by_label: defaultdict[At, list[float | None]] = defaultdict(list)
        by_principle: defaultdict[At, list[float | None]] = defaultdict(list)
        for label, origin in labelled:
            assert origin.turn.asked is not None
            number, principle = origin.turn.number, origin.turn.asked.principle.id
            was_asked = principle in {verdict.principle_id for verdict in label.verdicts}  # not all are of every pair
            for name in (None, principle):
                by_label[number, name].append(origin.probability(label))
                if was_asked:
                    by_principle[number, name].append(origin.probability(label, principle))
        for found, kept in ((by_label, self.by_label), (by_principle, self.by_principle)):
            for at, probabilities in found.items():
                kept[at].add(probabilities)


def _revisions(turns: list[Turn]) -> Iterator[tuple[Outcome, str]]:
    return ((turn.revision.outcome, turn.revision.reason) for turn in turns if turn.revision is not None)


def summarise(figures: RevisionFigures, revising: RevisionRoad) -> dict[str, Any]:
    """The run's figures as plain JSON. No time and no machine is in them: equal results give equal bytes."""
    constitution, models = revising.road.constitution, revising.road.models
    stages = figures.count.stages()
    stages.pop("critique", None)  # of pairs; none is asked for here
    books = {"sample": stages.pop("sample")}
    for number in range(1, figures.rounds + 1):
        books[f"critique, round {number}"] = figures.critiques[number].close()
        books[f"revise, round {number}"] = figures.revisions[number].close()
    return {
        "name": revising.road.settings.name,
        "rlaif": __version__,
        "constitution": {"name": constitution.name, "version": constitution.version},
        "judge": asdict(models.judge.identity),
        **({"other_judges": [asdict(one.identity) for one in models.others]} if models.others else {}),
        "policies": [asdict(model.identity) for model in models.policies],
        "writers": [asdict(revising.writer_of(number).identity) for number in range(len(models.policies))],
        "answers": figures.answers,
        "examples": figures.examples,
        "no_examples": most_first(figures.no_examples),
        "pairs": figures.pairs,
        "pairs_with_revision_chosen": figures.chosen_revisions,
        "rounds": [
            {"round": number, "answers": figures.answers, "endings": most_first(figures.endings[number])}
            for number in range(1, figures.rounds + 1)
        ],
        "preferences": _preferences(figures, revising),
        "stages": {name: asdict(stage) for name, stage in {**books, **stages}.items()},
        "left_out": most_first(figures.count.left_out),
    }


def _preferences(figures: RevisionFigures, revising: RevisionRoad) -> list[dict[str, Any]]:
    """Per round: all revisions, then those under each principle that was drawn, in the constitution's order."""
    names = [None, *(principle.id for principle in revising.road.constitution.enabled)]
    order = {name: place for place, name in enumerate(names)}
    return [
        {
            "round": number,
            "principle": name,
            "by_label": figures.by_label[number, name].as_json(),
            "by_drawn_principle": figures.by_principle[number, name].as_json(),
        }
        for number, name in sorted(figures.by_label, key=lambda at: (at[0], order[at[1]]))
    ]
