"""Objective checks of an answer: what can be computed needs no judge. Texts in, scores out; no model, no file.

    score(principle.check, answer, reference=prompt.reference)    # Scored(1.0) or Unscored(...)

`kinds` says what the YAML may hold, `scoring` what each kind means, `numerals` how a number is read from words, and
`installed` finds checkers that other packages bring. Two answers are compared by their scores in
`rlaif/feedback/check_verdicts.py`.
"""

from rlaif.checks.kinds import (
    Check,
    ExactCheck,
    JsonCheck,
    LengthCheck,
    NumberCheck,
    PythonCheck,
    RegexCheck,
    describe,
)
from rlaif.checks.scoring import Scored, Unscored, score

__all__ = [
    "Check",
    "ExactCheck",
    "JsonCheck",
    "LengthCheck",
    "NumberCheck",
    "PythonCheck",
    "RegexCheck",
    "Scored",
    "Unscored",
    "describe",
    "score",
]
