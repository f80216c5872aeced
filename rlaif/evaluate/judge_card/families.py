"""Whose family a model is of, and which answers are of the judge's.

A family is a line of models that grew out of one another: Llama, Qwen, Gemma. It is read from the model's name, where
exactly one known family is named, or it is told (`--judge-family`, `--policy-family`); a model that is the judge itself
(the same weights) is of its family whatever it is called. Architecture is no family: many lines share Llama's. A name
with two families in it (a distillation: DeepSeek-R1-Distill-Qwen) has none until somebody tells.

A judge can prefer its family's answers because they are better, or because they are familiar. Their effect on the
verdicts alone cannot tell the two apart; beside people's labels on the same pairs it can (`people.py`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.engines.base import ModelIdentity
from rlaif.evaluate.judge_card.verdicts import Verdicts
from rlaif.numbers.figures import FloatArray

# A word in a model's name, and the family it means.
FAMILIES: Mapping[str, str] = {
    **{name: name for name in ("llama", "qwen", "gemma", "phi", "deepseek", "olmo", "granite", "falcon", "exaone")},
    **{
        name: name for name in ("smollm", "internlm", "glm", "minicpm", "nemotron", "hermes", "gpt", "claude", "gemini")
    },
    "vicuna": "llama",
    "alpaca": "llama",
    "tulu": "llama",
    "qwq": "qwen",
    "chatglm": "glm",
    "command": "command",
    **dict.fromkeys(("mistral", "mixtral", "ministral", "codestral", "magistral", "zephyr"), "mistral"),
    "yi": "yi",
    "tiny": "tiny",
}
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class Family:
    """A family, or why it is not known."""

    name: str | None
    because: str = ""


def family_of(model: str) -> Family:
    """By the model's name; of a hub name or a path, its last part."""
    last = model.rstrip("/").rsplit("/", 1)[-1].lower()
    named = sorted({FAMILIES[word] for word in _WORD.findall(last) if word in FAMILIES})
    if len(named) == 1:
        return Family(named[0])
    if named:
        return Family(None, f"the name {model!r} holds several families: {', '.join(named)}")
    return Family(None, f"the name {model!r} holds no family known here")


@dataclass(frozen=True, slots=True)
class Own:
    """column (N,): 1 where x alone is of the judge's family, -1 where y alone is, 0 where both or neither; NaN where it
    is not known. None where nothing can be measured, because …"""

    column: FloatArray | None
    because: str
    judge_family: str | None
    policies: Mapping[str, bool | None]  # by policy: whether it is of the judge's family; None where that is not known


def own_answers(
    verdicts: Verdicts,
    judge: ModelIdentity,
    policies: Mapping[str, ModelIdentity],
    told: Mapping[str, str],
    judge_family: str | None = None,
) -> Own:
    """`policies` by the name that labels.parquet has; `told`: families by policy name."""
    family = Family(judge_family) if judge_family else family_of(judge.name)
    of_judge = {name: _is_own(name, one, judge, family, told) for name, one in policies.items()}
    known = np.array([[_side(of_judge, name) for name in pair] for pair in verdicts.policies]).reshape(-1, 2)
    because = _why_not(verdicts, known, of_judge, family)
    return Own(None if because else known[:, 0] - known[:, 1], because, family.name, of_judge)


def _is_own(
    name: str, policy: ModelIdentity, judge: ModelIdentity, family: Family, told: Mapping[str, str]
) -> bool | None:
    if policy.weights == judge.weights:
        return True
    own = told.get(name) or family_of(policy.name).name
    return None if own is None or family.name is None else own == family.name


def _side(of_judge: Mapping[str, bool | None], name: str | None) -> float:
    is_own = of_judge.get(name) if name else None
    return np.nan if is_own is None else float(is_own)


def _why_not(verdicts: Verdicts, known: FloatArray, of_judge: Mapping[str, bool | None], family: Family) -> str:
    if not of_judge or all(name is None for pair in verdicts.policies for name in pair):
        return "these pairs do not say which model gave which answer"
    if not np.isfinite(known).all(axis=1).any():
        unknown = [name for name, is_own in of_judge.items() if is_own is None]
        told = family.because or f"not known whether {_listed(unknown)} are of the family {family.name!r}"
        return f"{told}; tell it with --judge-family or --policy-family"
    if not (known[:, 0] != known[:, 1])[np.isfinite(known).all(axis=1)].any():
        which = "every answer is" if np.nanmax(known) > 0 else "no answer is"
        return f"{which} of the judge's family, so there is nothing to compare: sample from another family too"
    return ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "the policies"
