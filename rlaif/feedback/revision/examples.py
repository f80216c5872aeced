"""Which revisions become examples to fine-tune on: the last one of every answer that has another text in the end, if
the judge finds it as good as the settings want. A pure function of what the judge said, so it can be done again for
nothing.
"""

from collections import Counter
from dataclasses import dataclass

from rlaif.feedback.revision.block import Origin, RevisionBlock
from rlaif.records import LabelledPair


@dataclass(frozen=True, slots=True)
class Example:
    """A chain's last revision, and the label of it against the first answer."""

    origin: Origin
    label: LabelledPair
    writer: str

    @property
    def probability(self) -> float | None:
        """P(the revision is better than the original) by the judge; None without a verdict."""
        return self.origin.probability(self.label)


@dataclass(frozen=True, slots=True)
class Examples:
    """Those to learn from, and why other answers gave none. Together they are all answers there were."""

    kept: tuple[Example, ...]
    left_out: dict[str, int]


def choose_examples(block: RevisionBlock) -> Examples:
    labels = {label.pair.id: label for label in block.labelled}
    by_ends = {origin.ends: labels[pair_id] for pair_id, origin in block.origins.items()}
    least = block.revising.settings.min_probability
    kept: list[Example] = []
    left_out: Counter[str] = Counter()
    for number, chain in enumerate(block.revised):
        if chain.sample.response is None:
            continue
        changed = [Origin(chain, turn) for turn in chain.turns if turn.is_changed]
        if not changed or changed[-1].ends not in by_ends:
            left_out["revised back to the original" if changed else "not changed"] += 1
            continue
        writer = block.revising.writer_of(number % len(block.sampling)).name
        example = Example(changed[-1], by_ends[changed[-1].ends], writer)
        if reason := _left_out_because(example, least):
            left_out[reason] += 1
        else:
            kept.append(example)
    return Examples(tuple(kept), dict(left_out))


def _left_out_because(example: Example, least: float) -> str | None:
    probability = example.probability
    if not least or (probability is not None and probability >= least):
        return None
    return "no verdict" if probability is None else f"under min_probability {least:g}"
