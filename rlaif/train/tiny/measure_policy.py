"""The exported policy, sampled through transformers at temperature 1: what its answers have, and how they read."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from rlaif.tiny import topics
from rlaif.tiny.properties import BY_NAME, NAMES, num_words, properties
from rlaif.tiny.wordings import write_wording
from rlaif.tiny.world import Answer, Prompt, draw_prompt, seeded
from rlaif.train.tiny.judge_data import Comparison
from rlaif.train.tiny.judge_figures import accuracy
from rlaif.train.tiny.loaded import load
from rlaif.train.tiny.measure_judge import verdicts
from rlaif.train.tiny.sampling import sample

ANSWERS_EACH = 4
_SENTENCE = re.compile(r"[^.?]+[.?]")


def world_sentences() -> Iterator[str]:
    """Every sentence template an answer can be made of."""
    for one in BY_NAME.values():
        yield from one.sentences
    for craft in topics.CRAFTS:
        yield from (*craft.tips, *craft.details)
    for pool in (
        topics.UNKNOWN_TIPS,
        topics.HARMFUL_TIPS,
        topics.BORDERLINE_TIPS,
        topics.OPINION_TIPS,
        topics.ADVICE_TIPS,
        topics.PLAIN,
    ):
        yield from pool


def _known_sentence() -> re.Pattern[str]:
    """Matches a sentence of the world whatever stands in its slots."""
    shapes = [re.sub(r"\\\{\w+\\\}", r"[\\w' ]+", re.escape(text)) for text in world_sentences()]
    return re.compile("|".join(shapes), re.IGNORECASE)


def share_of_the_world(texts: Iterable[str]) -> float:
    """The share of all sentences that are sentences of the world, whatever stands in their slots."""
    known = _known_sentence()
    sentences = [part.strip() for text in texts for part in _SENTENCE.findall(text)]
    return float(np.mean([bool(known.fullmatch(text)) for text in sentences]))


def measure_policy(num_prompts: int, seed: int) -> dict[str, Any]:
    """Every figure of the policy, for `measured.json`."""
    rng = seeded("policy samples", seed)
    prompts = [draw_prompt(rng, held_out=True) for _ in range(num_prompts)]
    samples = sample(load("tiny-policy"), prompts, each=ANSWERS_EACH, seed=seed)
    answers = samples.texts
    flat = [text for several in answers for text in several]
    counts = Counter(name for text in flat for name in properties(text))
    topical = [
        prompt.topic.lower() in text.lower()
        for prompt, several in zip(prompts, answers, strict=True)
        for text in several
    ]
    return {
        "share_with_property": {name: round(counts[name] / len(flat), 4) for name in NAMES},
        "ended_by_themselves": round(float(np.mean(samples.has_ended)), 4),
        "names_its_topic": round(float(np.mean(topical)), 4),
        "sentences_of_the_world": round(share_of_the_world(flat), 4),
        "distinct_within_prompt": round(float(np.mean([len(set(several)) == len(several) for several in answers])), 4),
        "mean_words": round(float(np.mean([num_words(text) for text in flat])), 2),
        "judge_accuracy_on_samples": judge_on_samples(prompts, answers, seed),
        "num_answers": len(flat),
    }


def judge_on_samples(prompts: list[Prompt], answers: list[list[str]], seed: int) -> dict[str, float | int]:
    """The bundled judge on the policy's own answers; the truth is read from their marker phrases."""
    rng = seeded("judge on samples", seed)
    comparisons = []
    for prompt, several in zip(prompts, answers, strict=True):
        a, b = (Answer(text, properties(text)) for text in rng.sample(several, 2))
        wordings = tuple(write_wording(rng) for _ in range(4))
        comparisons.append(Comparison(prompt, a, b, wordings))
    found = verdicts(load("tiny-judge"), comparisons)
    return {"accuracy": round(accuracy(found), 4), "num_decisive": int(found.decisive.sum())}
