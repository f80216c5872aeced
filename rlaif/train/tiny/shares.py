"""What training did to a tiny policy: the share of its answers that do as each principle asks, before and after.

    found = measure_shares("outputs/models/dpo", "tiny-policy", constitution, num_prompts=120, each=4, seed=2024)

Both models answer the same prompts of the tiny world, which neither was trained on. Whether an answer does as a
principle asks is read from the grammar's marker phrases, not from a judge. How far the model went is said as
KL(model ‖ before) per answer in nats: the mean over the model's own answers of log π(y|x) - log π_before(y|x), an
unbiased estimate at temperature 1. Intervals are bootstraps over prompts; a change is taken on the same resamples.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rlaif.constitution import Constitution
from rlaif.errors import ConstitutionError
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import Estimate, Figure, FloatArray
from rlaif.numbers.intervals import Measure, difference, estimates, mean_measure
from rlaif.tiny.meanings import Meaning, meaning_of
from rlaif.tiny.properties import num_words, properties
from rlaif.tiny.world import Prompt, draw_prompt, seeded
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import LogprobModel, prepare_model
from rlaif.train.packing import Family
from rlaif.train.reference import reference_sums
from rlaif.train.task import Layout
from rlaif.train.tiny.loaded import Loaded, load
from rlaif.train.tiny.measure_policy import share_of_the_world
from rlaif.train.tiny.prompt_set import set_prompts
from rlaif.train.tiny.sampling import Samples, sample

_TOKENS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class PrincipleShares:
    """Of one principle: what it asks for, and the share of answers that do so."""

    id: str
    asks: Meaning
    before: Figure
    after: Figure
    change: Figure

    @property
    def has_risen(self) -> bool:
        """The whole interval of the change is above 0."""
        return isinstance(self.change, Estimate) and self.change.low is not None and self.change.low > 0

    def as_dict(self) -> dict[str, Any]:
        figures = {name: getattr(self, name).as_dict() for name in ("before", "after", "change")}
        asks = {"property": self.asks.property, "wanted": self.asks.direction > 0}
        return {"id": self.id, **asks, **figures, "has_risen": self.has_risen}


@dataclass(frozen=True, slots=True)
class Shares:
    """Everything `measure_shares` found. `unread`: principles whose words the grammar does not know.

    The last three are (before, after): what a policy that only chases the label would spoil.
    """

    principles: tuple[PrincipleShares, ...]
    unread: tuple[str, ...]
    kl: Figure
    num_prompts: int
    num_answers: int
    ended_by_themselves: tuple[float, float]
    sentences_of_the_world: tuple[float, float]
    mean_words: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        pairs = ("ended_by_themselves", "sentences_of_the_world", "mean_words")
        return {
            "principles": [one.as_dict() for one in self.principles],
            "unread": list(self.unread),
            "kl_nats_per_answer": self.kl.as_dict(),
            "num_prompts": self.num_prompts,
            "num_answers": self.num_answers,
            **{name: dict(zip(("before", "after"), getattr(self, name), strict=True)) for name in pairs},
        }


def measure_shares(
    model: str, before: str, constitution: Constitution, *, num_prompts: int, each: int, seed: int
) -> Shares:
    """Sample both models (folders, or the bundled tiny-policy) and compare."""
    read = {one.id: meaning_of(one.text) for one in constitution.enabled}
    asked = {name: meaning for name, meaning in read.items() if meaning is not None}
    if not asked:
        raise ConstitutionError(
            "none of its principles is a sentence of the tiny world.",
            where=constitution.name,
            do="docs/tiny-models.md lists wordings; constitution/small.yaml has six.",
        )
    prompts = fresh_prompts(num_prompts, seed)
    first, second = load(before, torch.float32), load(model, torch.float32)
    drawn = [sample(one, prompts, each=each, seed=seed + place) for place, one in enumerate((first, second))]
    log_ratios = logprobs(second, drawn[1].families) - logprobs(first, drawn[1].families)
    figures = _figures(drawn, asked, log_ratios)
    flat = [[text for several in samples.texts for text in several] for samples in drawn]
    return Shares(
        principles=tuple(
            PrincipleShares(name, asked[name], *(figures[f"{name} {when}"] for when in ("before", "after", "change")))
            for name in asked
        ),
        unread=tuple(name for name, meaning in read.items() if meaning is None),
        kl=figures["kl"],
        num_prompts=num_prompts,
        num_answers=num_prompts * each,
        ended_by_themselves=_both(float(np.mean(samples.has_ended)) for samples in drawn),
        sentences_of_the_world=_both(share_of_the_world(texts) for texts in flat),
        mean_words=_both(float(np.mean([num_words(text) for text in texts])) for texts in flat),
    )


def fresh_prompts(count: int, seed: int) -> list[Prompt]:
    """Prompts on the policy's held-out side that are not in prompts/sets/tiny-world.jsonl either."""
    known = {prompt.turns[0] for prompt in set_prompts()}
    rng, found = seeded("shares", seed), list[Prompt]()
    while len(found) < count:
        prompt = draw_prompt(rng, held_out=True)
        if prompt.turns[0] not in known:
            found.append(prompt)
    return found


def logprobs(policy: Loaded, families: Sequence[Family]) -> FloatArray:
    """log π(answer | prompt) in nats of every answer: (prompts, answers each)."""
    module = LogprobModel(prepare_model(policy.model))
    rows = [TrainingRow(family=family) for family in families]
    return reference_sums(module, rows, Layout(), _TOKENS_AT_ONCE, cache=None)


def _figures(drawn: Sequence[Samples], asked: dict[str, Meaning], log_ratios: FloatArray) -> dict[str, Figure]:
    """Rows are the answers of the one model and then those of the other; clusters are the prompts."""
    num_prompts, each = log_ratios.shape
    clusters = np.tile(np.repeat(np.arange(num_prompts), each), 2)
    is_after = np.repeat([0.0, 1.0], num_prompts * each)
    found = [properties(text) for samples in drawn for several in samples.texts for text in several]
    measures: dict[str, Measure] = {}
    for name, meaning in asked.items():
        is_met = np.array([meaning.is_met(one) for one in found], dtype=np.float64)
        before = mean_measure(is_met * (1 - is_after), 1 - is_after)
        after = mean_measure(is_met * is_after, is_after)
        measures |= {f"{name} before": before, f"{name} after": after, f"{name} change": difference(after, before)}
    measures["kl"] = mean_measure(np.concatenate([np.zeros(log_ratios.size), log_ratios.ravel()]), is_after)
    return estimates(cluster_bootstrap(clusters), measures)


def _both(values: Iterable[float]) -> tuple[float, float]:
    before, after = values
    return before, after
