"""Prompts that repeat others, or that stand in a benchmark: found, reported, and left out if asked.

    prompt_set = clean(read_prompts(settings.prompts, base=base), settings.cleaning, base=base)
    print(*prompt_set.findings, prompt_set.drop_counts, prompt_set.kept_counts)

Finding changes nothing; what is removed is counted among the drops with its reason and place. Equal conversations are
one prompt already on reading (`reading`); here it is about those that differ in a comma, a name, a number. An answer's
likeness to the others of its prompt is found by the same `rlaif.overlap.find_duplicates` (`rlaif/feedback/pairing.py`).
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from rlaif.documents import no_such_file
from rlaif.errors import DataError, Where
from rlaif.overlap import Passages, find_duplicates
from rlaif.overlap.passages import RUN_WORDS
from rlaif.prompt_sets.reading import PromptSet
from rlaif.prompt_sets.rows import Drop, Finding
from rlaif.records import Prompt

BENCHMARK_FORMATS = (".jsonl", ".parquet", ".csv", ".txt")


class Cleaning(Protocol):
    """What is wanted; `rlaif.settings.CleaningSettings` is one. The two wishes are "off", "report" or "remove"."""

    @property
    def near_duplicate_prompts(self) -> str: ...
    @property
    def likeness(self) -> float: ...
    @property
    def benchmarks(self) -> tuple[str, ...]: ...
    @property
    def contaminated_prompts(self) -> str: ...
    @property
    def run_words(self) -> int: ...


def clean(prompt_set: PromptSet, wanted: Cleaning, *, base: Path) -> PromptSet:
    """The set with its findings, and without those prompts that are to be removed.

    Benchmarks come first: of two prompts that are alike, one of them copied, the other one is to stay.
    """
    if wanted.benchmarks:
        passages = read_passages(wanted.benchmarks, base=base, run_words=wanted.run_words)
        looked_for = {"benchmark_texts": passages.num_examples, "benchmark_texts_too_short": passages.num_too_short}
        prompt_set = replace(prompt_set, looked_for=looked_for)
        prompt_set = _noted(prompt_set, find_contamination(prompt_set, passages), wanted.contaminated_prompts)
    if wanted.near_duplicate_prompts != "off":
        found = find_near_duplicates(prompt_set, threshold=wanted.likeness)
        prompt_set = _noted(prompt_set, found, wanted.near_duplicate_prompts)
    return prompt_set


def find_near_duplicates(prompt_set: PromptSet, *, threshold: float, shingle_words: int = 3) -> list[Finding]:
    """The prompts that say nearly the same as an earlier one, which is the one to keep."""
    prompts = prompt_set.prompts
    found = find_duplicates([text_of(prompt) for prompt in prompts], threshold=threshold, shingle_words=shingle_words)
    return [
        Finding(
            prompt_id=prompts[one.index].id,
            reason="near-duplicate",
            where=str(_place(prompt_set, prompts[one.index])),
            same_as=str(_place(prompt_set, prompts[one.of])),
            likeness=one.similarity,
        )
        for one in found
    ]


def find_contamination(prompt_set: PromptSet, passages: Passages) -> list[Finding]:
    """The prompts that share a run of words with a benchmark example, in their turns or in their reference."""
    findings = []
    for prompt in prompt_set.prompts:
        match = passages.find("\n".join([text_of(prompt), prompt.reference or ""]))
        if match:
            findings.append(
                Finding(
                    prompt_id=prompt.id,
                    reason="in a benchmark",
                    where=str(_place(prompt_set, prompt)),
                    same_as=match.example,
                    likeness=match.share,
                    passage=match.run,
                )
            )
    return findings


def without(prompt_set: PromptSet, findings: Iterable[Finding]) -> PromptSet:
    """The set without the prompts found; each is counted among the drops, once, for the first reason."""
    reasons: dict[str, Finding] = {}
    for finding in findings:
        reasons.setdefault(finding.prompt_id, finding)
    kept = tuple(prompt for prompt in prompt_set.prompts if prompt.id not in reasons)
    drops = [
        Drop(reasons[prompt.id].reason, _place(prompt_set, prompt), same_as=Where(reasons[prompt.id].same_as))
        for prompt in prompt_set.prompts
        if prompt.id in reasons
    ]
    if not kept:
        do = "Raise the threshold, or look at the findings before removing them."
        raise DataError("every prompt repeats another or stands in a benchmark; none would be left.", do=do)
    return replace(prompt_set, prompts=kept, drops=(*prompt_set.drops, *drops))


def _noted(prompt_set: PromptSet, found: Sequence[Finding], wish: str) -> PromptSet:
    """The set with these findings; where the wish is to remove them, without their prompts."""
    is_removed = wish == "remove"
    if is_removed and found:
        prompt_set = without(prompt_set, found)
    noted = (replace(finding, is_removed=is_removed) for finding in found)
    return replace(prompt_set, findings=(*prompt_set.findings, *noted))


def text_of(prompt: Prompt) -> str:
    """What is compared of a prompt: its turns, without their roles."""
    return "\n".join(message.content for message in prompt.messages)


def read_passages(paths: Sequence[str], *, base: Path, run_words: int = RUN_WORDS) -> Passages:
    """The texts of benchmark files: every text of every row, wherever it lies in it; of a .txt file, every line."""
    return Passages(((str(where), text) for path in paths for where, text in _texts(base / path)), run_words=run_words)


def _texts(path: Path) -> Iterator[tuple[Where, str]]:
    if path.suffix not in BENCHMARK_FORMATS:
        do = f"Readable are {', '.join(BENCHMARK_FORMATS)} files."
        raise DataError(f"benchmark files of the kind {path.suffix!r} are not read.", where=Where(str(path)), do=do)
    if not path.is_file():
        raise no_such_file(path, DataError)
    if path.suffix == ".parquet":
        import pyarrow.parquet

        rows: Iterable[Any] = (
            row for batch in pyarrow.parquet.ParquetFile(path).iter_batches() for row in batch.to_pylist()
        )
        for number, row in enumerate(rows, 1):
            yield from ((Where(f"{path} row {number}"), text) for text in _strings(row))
        return
    with path.open(encoding="utf-8-sig", newline="" if path.suffix == ".csv" else None) as file:
        lines: Iterable[Any] = csv.reader(file) if path.suffix == ".csv" else file
        for number, line in enumerate(lines, 1):
            where = Where(str(path), number)
            row = _json(line, where) if path.suffix == ".jsonl" and line.strip() else line
            yield from ((where, text) for text in _strings(row))


def _json(line: str, where: Where) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as failure:
        do = "Correct or remove the line; each line is one whole JSON value."
        raise DataError(f"this line is not JSON: {line.strip()[:60]!r}.", where=where, do=do) from failure


def _strings(value: Any) -> Iterator[str]:
    """All texts in a row; keys are no texts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _place(prompt_set: PromptSet, prompt: Prompt) -> Where:
    return prompt_set.places.get(prompt.id, Where(f"prompt {prompt.id}"))
