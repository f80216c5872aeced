"""Verdicts of a judge that is still in training, over packed contexts, and one line of figures for the log."""

from collections.abc import Sequence

import numpy as np
import torch

from rlaif.tiny.wordings import Split
from rlaif.tiny.world import seeded
from rlaif.train.tiny.judge_data import Comparison, comparisons_for_measuring, make_batch
from rlaif.train.tiny.judge_figures import (
    Verdicts,
    accuracy,
    accuracy_one_order,
    same_after_swap,
    truth_of,
    verdict_calibration,
)
from rlaif.train.tiny.judge_text import JudgeText
from rlaif.train.tiny.model import TinyLlama
from rlaif.train.tiny.score_data import follows, make_score_batch, scorings_for_measuring

SPLITS: tuple[Split, ...] = ("train", "frame", "phrase", "composition")


def packed_verdicts(model: TinyLlama, text: JudgeText, comparisons: Sequence[Comparison], size: int = 16) -> Verdicts:
    """P(A) for every comparison × wording, in both orders."""
    shares: list[list[float]] = [[], []]
    with torch.no_grad():
        for start in range(0, len(comparisons), size):
            part = comparisons[start : start + size]
            for order, shown in enumerate((part, [one.swapped() for one in part])):
                batch = make_batch(shown, text, "verdict", seeded("unused"))
                hidden, _ = model(batch.packed)
                both = model.logits(hidden[batch.verdict_at])[:, [text.choice_a, text.choice_b]]
                shares[order] += both.softmax(-1)[:, 0].tolist()
    return Verdicts(np.array(shares[0]), np.array(shares[1]), truth_of(comparisons))


def log_line(model: TinyLlama, text: JudgeText, count: int = 100) -> str:
    """Figures on held-out prompts, by split of the wordings and by property."""
    comparisons = comparisons_for_measuring(0, count, splits=SPLITS, num_wordings=8)
    verdicts = packed_verdicts(model, text, comparisons)
    wordings = [w for one in comparisons for w in one.wordings]
    by_split = [
        f"{split} {accuracy(verdicts.chosen(np.array([w.split == split for w in wordings]))):.3f}" for split in SPLITS
    ]
    keys = sorted({(w.property, w.direction) for w in wordings})
    by_key = []
    for key in keys:
        part = verdicts.chosen(np.array([(w.property, w.direction) == key for w in wordings]))
        if part.decisive.any():
            by_key.append(f"{key[0]}{'+' if key[1] > 0 else '-'}{accuracy(part):.2f}")
    return (
        f"accuracy {accuracy(verdicts):.3f} ({' '.join(by_split)}) one order {accuracy_one_order(verdicts):.3f} "
        f"same after swap {same_after_swap(verdicts):.3f} ECE {verdict_calibration(verdicts):.3f}\n  {' '.join(by_key)}"
    )


def scores_line(model: TinyLlama, text: JudgeText, count: int = 150) -> str:
    """How often a judge in training puts more on the right end of the scale than on the other, by split."""
    scorings = scorings_for_measuring(0, count, splits=SPLITS, num_wordings=8)
    ends, truth = [], []
    with torch.no_grad():
        for start in range(0, count, 25):
            part = scorings[start : start + 25]
            batch = make_score_batch(part, text)
            shares = model.logits(model(batch.packed)[0][batch.score_at]).softmax(-1)
            highest = torch.tensor([text.score(own.highest) for one in part for own in one.scales])
            high = shares.gather(1, highest[:, None])[:, 0]
            ends += (high / (high + shares[:, text.score(1)])).tolist()
            truth += [follows(one.answer, wording) for one in part for wording in one.wordings]
    right = (np.array(ends) > 0.5) == np.array(truth)
    splits = np.array([wording.split for one in scorings for wording in one.wordings])
    return "scores " + " ".join(f"{split} {right[splits == split].mean():.3f}" for split in SPLITS)
