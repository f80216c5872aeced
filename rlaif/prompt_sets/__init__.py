"""Prompts for the policy, read from JSONL, Parquet, CSV or a Hugging Face dataset.

    prompt_set = read_prompts(settings.prompts, base=folder_of_the_settings_file)

A row that is *wrong* (broken JSON, an unknown key, an unknown role) stops the reading with its place, since the file
needs correcting. A row that is merely *unusable* (an empty text, a conversation the assistant ends, a duplicate) is
left out and counted with its place, since large datasets have a few. prompts/README.md has the fields.
"""

from rlaif.prompt_sets.cleaning import clean
from rlaif.prompt_sets.reading import PromptSet, read_prompts
from rlaif.prompt_sets.rows import Drop, Finding

__all__ = ["Drop", "Finding", "PromptSet", "clean", "read_prompts"]
