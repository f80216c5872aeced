"""The exported judge, measured through transformers as a user would run it: template, chat template, one token.

The modes that reason and score are in `measure_modes.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rlaif.bundled import project_file, resolve_model
from rlaif.tiny.critiques import read_critique
from rlaif.tiny.properties import NAMES
from rlaif.tiny.wordings import AVOID, GENERIC_QUESTION, PREFER, Split, Wording
from rlaif.train.tiny.judge_data import Comparison, comparisons_for_measuring
from rlaif.train.tiny.judge_figures import (
    Verdicts,
    accuracy,
    accuracy_one_order,
    same_after_swap,
    true_critique,
    truth_of,
    verdict_calibration,
)
from rlaif.train.tiny.loaded import Loaded, load, rendered
from rlaif.train.tiny.measure_modes import reasoned_figures, score_figures

# What each principle of constitution/small.yaml is about, and its text turned round (the comment beside it there).
SMALL: dict[str, tuple[str, int, str]] = {
    "polite": ("polite", PREFER, "A good answer is not polite and kind."),
    "admits-doubt": ("doubt", PREFER, "Avoid the response that admits doubt."),
    "gives-reasons": ("reason", PREFER, "A response should not give a reason."),
    "no-flattery": ("flatters", AVOID, "Prefer the response that flatters the reader."),
    "no-preaching": ("moralises", AVOID, "A good answer moralises."),
    "brief": ("long", AVOID, "It is better to be long and detailed."),
}


def verdicts(judge: Loaded, comparisons: Sequence[Comparison]) -> Verdicts:
    """Both orders of every comparison × wording."""
    asked = [(one, wording) for one in comparisons for wording in one.wordings]
    first, _ = judge.shares([rendered("judge", one, w) for one, w in asked], "AB")
    second, _ = judge.shares([rendered("judge", one.swapped(), w) for one, w in asked], "AB")
    return Verdicts(first[:, 0], second[:, 0], truth_of(comparisons))


def verdict_figures(v: Verdicts) -> dict[str, float | int]:
    return {
        "accuracy": round(accuracy(v), 4),
        "accuracy_one_order": round(accuracy_one_order(v), 4),
        "same_after_swap": round(same_after_swap(v), 4),
        "ece": round(verdict_calibration(v), 4),
        "num_decisive": int(v.decisive.sum()),
        "num_all": len(v.truth),
    }


def wording_figures(judge: Loaded, count: int, seed: int, *, held_out_sentences: bool = False) -> dict[str, Any]:
    """Figures on held-out prompts and newly written answers, by what is new about the principle."""
    splits: tuple[Split, ...] = ("train", "frame", "phrase", "composition")
    figures: dict[str, Any] = {}
    for split in splits:
        comparisons = comparisons_for_measuring(
            seed, count, splits=(split,), num_wordings=4, held_out_sentences=held_out_sentences
        )
        v = verdicts(judge, comparisons)
        figures[split] = verdict_figures(v)
        wordings = [w for one in comparisons for w in one.wordings]
        figures[split]["by_composition"] = _by_composition(v, wordings)
    return figures


def _by_composition(v: Verdicts, wordings: Sequence[Wording]) -> dict[str, float]:
    found = {}
    for name in NAMES:
        for direction, word in ((PREFER, "prefer"), (AVOID, "avoid")):
            rows = np.array([(w.property, w.direction) == (name, direction) for w in wordings])
            if (rows & v.decisive).any():
                found[f"{word} {name}"] = round(accuracy(v.chosen(rows)), 4)
    return found


def turning_figures(judge: Loaded, count: int, seed: int) -> dict[str, Any]:
    """For each principle of small.yaml: does turning its text round turn its verdicts round?"""
    document = yaml.safe_load(project_file("constitution/small.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for principle in document["principles"]:
        name, direction, turned = SMALL[principle["id"]]
        ways = (
            Wording(principle["text"], principle["question"], name, direction, "train"),
            Wording(turned, GENERIC_QUESTION, name, -direction, "train"),
        )
        pool = comparisons_for_measuring(seed, count * 4, splits=("train",), num_wordings=0)
        decisive = [one for one in pool if (name in one.a.properties) != (name in one.b.properties)][:count]
        as_written, turned_round = (
            verdicts(judge, [Comparison(one.prompt, one.a, one.b, (way,)) for one in decisive]) for way in ways
        )
        flipped = (as_written.averaged > 0.5) != (turned_round.averaged > 0.5)
        found[principle["id"]] = {
            "turned": round(float(flipped.mean()), 4),
            "accuracy_as_written": round(accuracy(as_written), 4),
            "accuracy_turned": round(accuracy(turned_round), 4),
            "num": len(decisive),
        }
    return found


def critique_figures(judge: Loaded, count: int, seed: int) -> dict[str, Any]:
    """Greedy critiques: how many parse, are about the right property, and are true."""
    comparisons = comparisons_for_measuring(seed + 1, count, splits=("train", "frame", "phrase"), num_wordings=1)
    texts = judge.written([rendered("critique", one, one.wordings[0]) for one in comparisons], max_new_tokens=60)
    read = [read_critique(text) for text in texts]
    truths = [true_critique(one) for one in comparisons]
    about = [said is not None and said.property == truth.property for said, truth in zip(read, truths, strict=True)]
    facts = [
        said is not None and (said.property, said.a_has, said.b_has) == (truth.property, truth.a_has, truth.b_has)
        for said, truth in zip(read, truths, strict=True)
    ]
    return {
        "parse": round(float(np.mean([said is not None for said in read])), 4),
        "right_property": round(float(np.mean(about)), 4),
        "true_about_both": round(float(np.mean(facts)), 4),
        "wholly_true": round(float(np.mean([said == truth for said, truth in zip(read, truths, strict=True)])), 4),
        "num": len(texts),
    }


def measure_judge(count: int, seed: int, name: str = "tiny-judge") -> dict[str, Any]:
    """Every figure of the judge, for `measured.json`."""
    judge = load(name)
    some = comparisons_for_measuring(seed, 100, splits=("phrase",), num_wordings=1)
    _, uncovered = judge.shares([rendered("judge", one, one.wordings[0]) for one in some], "AB")
    folder = Path(resolve_model(name))
    return {
        "wordings": wording_figures(judge, count, seed),
        "held_out_sentences": wording_figures(judge, count // 2, seed + 2, held_out_sentences=True),
        "small_yaml_turned": turning_figures(judge, count, seed + 3),
        "critiques": critique_figures(judge, count, seed + 4),
        "reasoned": reasoned_figures(judge, count, seed + 6),
        "scores": score_figures(judge, count, seed + 7),
        "uncovered_mass": round(uncovered, 6),
        "weights_mb": round((folder / "model.safetensors").stat().st_size / 1e6, 2),
    }
