"""The exported judge, measured through transformers as a user would run it: template, chat template, one token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlaif.bundled import project_file, resolve_model
from rlaif.templates import load_template
from rlaif.tiny.critiques import Critique, read_critique, winner_of
from rlaif.tiny.properties import NAMES
from rlaif.tiny.wordings import AVOID, GENERIC_QUESTION, PREFER, Split, Wording
from rlaif.train.tiny.judge_data import Comparison, comparisons_for_measuring
from rlaif.train.tiny.judge_figures import (
    Verdicts,
    accuracy,
    accuracy_one_order,
    same_after_swap,
    truth_of,
    verdict_calibration,
)

# What each principle of constitution/small.yaml is about, and its text turned round (the comment beside it there).
SMALL: dict[str, tuple[str, int, str]] = {
    "polite": ("polite", PREFER, "A good answer is not polite and kind."),
    "admits-doubt": ("doubt", PREFER, "Avoid the response that admits doubt."),
    "gives-reasons": ("reason", PREFER, "A response should not give a reason."),
    "no-flattery": ("flatters", AVOID, "Prefer the response that flatters the reader."),
    "no-preaching": ("moralises", AVOID, "A good answer moralises."),
    "brief": ("long", AVOID, "It is better to be long and detailed."),
}
BATCH = 64


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint and its tokenizer."""

    model: Any
    tokenizer: Any

    def batches(self, prompts: Sequence[str]) -> Iterator[tuple[list[int], Any]]:
        """The prompts as left-padded batches of like length, each with the places its rows came from."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            chats = [[{"role": "user", "content": prompts[i]}] for i in rows]
            texts = self.tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
            yield rows, self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)


def load(name: str, dtype: torch.dtype = torch.bfloat16) -> Loaded:
    """A bundled model as shipped (bfloat16), or another of its kind in a folder."""
    folder = resolve_model(name)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return Loaded(model.eval(), tokenizer)


def rendered(template: str, one: Comparison, wording: Wording) -> str:
    return load_template(template).render(
        conversation=one.prompt.conversation,
        response_a=one.a.text,
        response_b=one.b.text,
        principle=wording.text,
        question=wording.question,
    )


@torch.no_grad()
def choice_shares(judge: Loaded, prompts: Sequence[str]) -> tuple[np.ndarray[Any, Any], float]:
    """P(A) over A and B for each prompt, and the mean probability of saying anything else."""
    a, b = (judge.tokenizer.convert_tokens_to_ids(letter) for letter in "AB")
    shares, uncovered = np.zeros(len(prompts)), np.zeros(len(prompts))
    for rows, batch in judge.batches(prompts):
        logits = judge.model(**batch, logits_to_keep=1).logits[:, -1].float()
        both = logits.softmax(-1)[:, [a, b]].double().numpy()
        shares[rows] = both[:, 0] / both.sum(1)
        uncovered[rows] = 1 - both.sum(1)
    return shares, float(uncovered.mean())


def verdicts(judge: Loaded, comparisons: Sequence[Comparison]) -> Verdicts:
    """Both orders of every comparison × wording."""
    asked = [(one, wording) for one in comparisons for wording in one.wordings]
    first, _ = choice_shares(judge, [rendered("judge", one, w) for one, w in asked])
    second, _ = choice_shares(judge, [rendered("judge", one.swapped(), w) for one, w in asked])
    return Verdicts(first, second, truth_of(comparisons))


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


@torch.no_grad()
def critique_figures(judge: Loaded, count: int, seed: int) -> dict[str, Any]:
    """Greedy critiques: how many parse, are about the right property, and are true."""
    comparisons = comparisons_for_measuring(seed + 1, count, splits=("train", "frame", "phrase"), num_wordings=1)
    asked = [(one, one.wordings[0]) for one in comparisons]
    texts = [""] * len(asked)
    for rows, batch in judge.batches([rendered("critique", one, w) for one, w in asked]):
        made = judge.model.generate(**batch, max_new_tokens=60, do_sample=False)
        for row, ids in zip(rows, made[:, batch["input_ids"].shape[1] :], strict=True):
            texts[row] = judge.tokenizer.decode(ids, skip_special_tokens=True)
    read = [read_critique(text) for text in texts]
    truths = [_true_critique(one, w) for one, w in asked]
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


def _true_critique(one: Comparison, wording: Wording) -> Critique:
    a_has, b_has = wording.property in one.a.properties, wording.property in one.b.properties
    return Critique(wording.property, a_has, b_has, winner_of(a_has, b_has, wording.direction))


def measure_judge(count: int, seed: int) -> dict[str, Any]:
    """Every figure of the judge, for `measured.json`."""
    judge = load("tiny-judge")
    _, uncovered = choice_shares(
        judge,
        [
            rendered("judge", one, one.wordings[0])
            for one in comparisons_for_measuring(seed, 100, splits=("phrase",), num_wordings=1)
        ],
    )
    folder = Path(resolve_model("tiny-judge"))
    return {
        "wordings": wording_figures(judge, count, seed),
        "held_out_sentences": wording_figures(judge, count // 2, seed + 2, held_out_sentences=True),
        "small_yaml_turned": turning_figures(judge, count, seed + 3),
        "critiques": critique_figures(judge, count, seed + 4),
        "uncovered_mass": round(uncovered, 6),
        "weights_mb": round((folder / "model.safetensors").stat().st_size / 1e6, 2),
    }
