"""What texts have in common: near-duplicates among them, and passages of benchmarks inside them.

Texts in, findings out; what becomes of a finding is decided where the texts come from (`rlaif/prompt_sets/cleaning.py`
for prompts). Both speak of words: small letters, no punctuation, any white space (`words`).
"""

from rlaif.overlap.near_duplicates import Duplicate, find_duplicates
from rlaif.overlap.passages import Match, Passages
from rlaif.overlap.words import words_of

__all__ = ["Duplicate", "Match", "Passages", "find_duplicates", "words_of"]
