"""The exported judge in the modes that reason and score, measured as a user would run it, against the grammar's truth.

Reasons are written greedily; then the verdict's probability is read behind the judge's own words, as `judge.mode:
reasoned` reads it. Scores are the expectation over the tokens of all scores, and pairs follow from them as in
`judge.mode: score`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from rlaif.numbers.superiority import mean_score, superiority
from rlaif.templates import load_template
from rlaif.tiny.critiques import read_reasons
from rlaif.tiny.wordings import Split, Wording
from rlaif.tiny.world import seeded
from rlaif.train.tiny.judge_data import Comparison, comparisons_for_measuring
from rlaif.train.tiny.judge_figures import (
    Verdicts,
    accuracy,
    calibration_error,
    same_after_swap,
    true_critique,
    truth_of,
)
from rlaif.train.tiny.loaded import Loaded, rendered
from rlaif.train.tiny.score_data import Scoring, draw_scale, follows, plain_scale, scorings_for_measuring

SPLITS: tuple[Split, ...] = ("train", "frame", "phrase", "composition")
LEAD_IN = "\n\nVerdict:"
REASONS_MAX_TOKENS = 80


def reasoned_figures(judge: Loaded, count: int, seed: int) -> dict[str, Any]:
    """Per split: are reasons of the grammar, true, and is the verdict behind them right, in both orders?"""
    return {split: _reasoned(judge, count, seed, split) for split in SPLITS}


def _reasoned(judge: Loaded, count: int, seed: int, split: Split) -> dict[str, float | int]:
    comparisons = comparisons_for_measuring(seed, count, splits=(split,), num_wordings=1)
    swapped = [one.swapped() for one in comparisons]
    told = [_told(judge, shown) for shown in (comparisons, swapped)]
    v = Verdicts(told[0][0], told[1][0], truth_of(comparisons))
    texts = [*zip(comparisons, told[0][1], strict=True), *zip(swapped, told[1][1], strict=True)]
    read = [(one, read_reasons(text)) for one, text in texts]
    as_stated = np.concatenate([shares > 0.5 for shares, _ in told])
    return {
        "parsed": _share([found is not None for _, found in read]),
        "reasons_true": _share([found is not None and found[0] == true_critique(one) for one, found in read]),
        "probability_agrees_with_letter": _share(
            [found is not None and (found[1] == "A") == says for (_, found), says in zip(read, as_stated, strict=True)]
        ),
        "accuracy": round(accuracy(v), 4),
        "same_after_swap": round(same_after_swap(v), 4),
        "num_decisive": int(v.decisive.sum()),
        "num_reasons": len(read),
    }


def _told(judge: Loaded, comparisons: Sequence[Comparison]) -> tuple[NDArray[np.float64], list[str]]:
    """P(A) behind the judge's own reasons, and the reasons."""
    prompts = [rendered("reason", one, one.wordings[0]) for one in comparisons]
    texts = judge.written(prompts, max_new_tokens=REASONS_MAX_TOKENS)
    begun = [text.rpartition(LEAD_IN)[0] or text for text in texts]
    shares, _ = judge.shares(prompts, ("A", "B"), [f"{words.strip()}{LEAD_IN}" for words in begun])
    return shares[:, 0], texts


def _share(rows: Sequence[bool]) -> float:
    return round(float(np.mean(rows)), 4)


def score_figures(judge: Loaded, count: int, seed: int) -> dict[str, Any]:
    """Does the mean score rank answers as the truth does, and who wins the pairs? Per split on a scale from 1 to 10,
    and for seen wordings from 1 to 5."""
    found: dict[str, Any] = {split: _scored(judge, count, seed, split, 10) for split in SPLITS}
    return found | {"train, 1 to 5": _scored(judge, count, seed, "train", 5)}


def _scored(judge: Loaded, count: int, seed: int, split: Split, levels: int) -> dict[str, float | int]:
    """Half of the scales have anchors. Pairs are two answers to one prompt under one principle, on a plain scale."""
    scorings = _on_one_scale(scorings_for_measuring(seed, count, splits=(split,), num_wordings=2), seed, levels)
    shares, uncovered = score_shares(judge, scorings, levels)
    truth = np.array([follows(one.answer, wording) for one in scorings for wording in one.wordings], dtype=float)
    means = np.array([mean_score(row.tolist()) for row in shares])
    comparisons = comparisons_for_measuring(seed, count, splits=(split,), num_wordings=1)
    both = [
        score_shares(judge, [_as_scoring(one, shown, levels) for one in comparisons], levels)[0] for shown in (0, 1)
    ]
    wins = np.array([superiority(x.tolist(), y.tolist()) for x, y in zip(*both, strict=True)])
    pairs = Verdicts(wins, 1.0 - wins, truth_of(comparisons))
    return {
        "spearman": round(float(spearmanr(means, truth).statistic), 4),
        "right_end": _share(list((means > (1 + levels) / 2) == (truth > 0.5))),
        "ece": round(calibration_error((means - 1) / (levels - 1), truth), 4),
        "pair_accuracy": round(accuracy(pairs), 4),
        "uncovered": round(uncovered, 6),
        "num_scores": len(means),
        "num_pairs": int(pairs.decisive.sum()),
    }


def _on_one_scale(scorings: Sequence[Scoring], seed: int, levels: int) -> list[Scoring]:
    rng = seeded("scales", seed, levels)
    return [replace(one, scales=tuple(draw_scale(w, rng, levels) for w in one.wordings)) for one in scorings]


def _as_scoring(one: Comparison, shown: int, levels: int) -> Scoring:
    return Scoring(one.prompt, (one.a, one.b)[shown], one.wordings[:1], (plain_scale(levels),))


def score_shares(judge: Loaded, scorings: Sequence[Scoring], levels: int) -> tuple[NDArray[np.float64], float]:
    """The distribution over the scores for every answer × principle, and the mean probability of anything else."""
    prompts = [
        _scoring_prompt(one, wording, own.text, levels)
        for one in scorings
        for wording, own in zip(one.wordings, one.scales, strict=True)
    ]
    return judge.shares(prompts, tuple(str(level) for level in range(1, levels + 1)))


def _scoring_prompt(one: Scoring, wording: Wording, scale: str, levels: int) -> str:
    return load_template("score").render(
        conversation=one.prompt.conversation,
        response=one.answer.text,
        principle=wording.text,
        scale=scale,
        lowest="1",
        highest=str(levels),
    )
