"""Pairs to put to a judge, and the changed twins of one of their answers.

A probe is a pair (a, b) and a changed a. Pairs come with the package (`pairs.jsonl` beside this file), from a run, or
from a folder in the form of Chen et al. 2024 (arXiv:2402.10669, FreedomIntelligence/Humans_LLMs_Judgement_Bias):
`raw.jsonl` and beside it one file per change, each line with `question_id`, `prompt` and `answers.answer1/2.answer`.
Of those, `factual_error` and `gender` make an answer worse: there a faithful judge moves away from it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlaif.documents import no_such_file
from rlaif.errors import DataError, Where
from rlaif.evaluate.judge_card.perturb import PERTURBATIONS
from rlaif.feedback.finished import bare_response
from rlaif.identity import digest
from rlaif.records import Message, Prompt, Response, ResponsePair

OWN_PAIRS = Path(__file__).with_name("pairs.jsonl")
RAW = "raw.jsonl"
MADE_WORSE = ("factual_error", "gender")

Kind = Literal["irrelevant", "worse"]


@dataclass(frozen=True, slots=True)
class Probe:
    """A change to the answer `plain` of a pair whose other answer is `other`."""

    name: str
    kind: Kind
    prompt: Prompt
    plain: Response
    other: Response
    changed: Response

    @property
    def before(self) -> ResponsePair:
        return paired(self.prompt, self.plain, self.other)

    @property
    def after(self) -> ResponsePair:
        return paired(self.prompt, self.changed, self.other)


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """The pairs as they are, what was changed in them, and why some could not be used."""

    pairs: tuple[ResponsePair, ...]
    probes: tuple[Probe, ...]
    left_out: Mapping[str, int]

    @property
    def kinds(self) -> dict[str, Kind]:
        """The changes there are, in order."""
        return {probe.name: probe.kind for probe in self.probes}


def paired(prompt: Prompt, one: Response, other: Response) -> ResponsePair:
    x, y = sorted((one, other), key=lambda response: response.id)
    return ResponsePair(prompt, x, y)


def changed_pairs(pairs: Iterable[ResponsePair], *, is_changed: bool = True) -> ProbeSet:
    """Each of our changes to one answer of every pair; which one, the pair's id decides."""
    kept: dict[str, ResponsePair] = {}
    probes: list[Probe] = []
    left_out: dict[str, int] = {}
    for pair in pairs:
        if pair.id in kept:
            left_out["a pair like another"] = left_out.get("a pair like another", 0) + 1
            continue
        kept[pair.id] = pair
        plain, other = (pair.x, pair.y) if int(digest({"changed": pair.id})[:8], 16) % 2 else (pair.y, pair.x)
        for name, change in PERTURBATIONS.items() if is_changed else ():
            changed = bare_response(pair.prompt.id, change(plain.text), plain.policy)
            if changed.id in (plain.id, other.id):
                left_out[f"{name}: changes nothing"] = left_out.get(f"{name}: changes nothing", 0) + 1
            else:
                probes.append(Probe(name, "irrelevant", pair.prompt, plain, other, changed))
    return ProbeSet(tuple(kept.values()), tuple(probes), left_out)


def joined(sets: Sequence[ProbeSet]) -> ProbeSet:
    """Several sets as one; a pair of two of them is asked about once."""
    pairs = {pair.id: pair for one in sets for pair in one.pairs}
    left_out: dict[str, int] = {}
    for one in sets:
        for why, count in one.left_out.items():
            left_out[why] = left_out.get(why, 0) + count
    return ProbeSet(tuple(pairs.values()), tuple(probe for one in sets for probe in one.probes), left_out)


def own_pairs() -> list[ResponsePair]:
    """The pairs that come with the package."""
    return [pair for _, pair in _pairs(OWN_PAIRS, "a", "b")]


def one_of_each(pairs: Iterable[ResponsePair], limit: int | None) -> list[ResponsePair]:
    """One pair of each prompt, then a second one of each, and so on up to `limit`."""
    by_prompt: dict[str, list[ResponsePair]] = {}
    for pair in pairs:
        by_prompt.setdefault(pair.prompt.id, []).append(pair)
    most = max(map(len, by_prompt.values()), default=0)
    turns = [own[turn] for turn in range(most) for own in by_prompt.values() if turn < len(own)]
    return turns[:limit]


def read_probe_folder(folder: Path, limit: int | None = None) -> ProbeSet:
    """A folder with `raw.jsonl` and one file per change. DataError with the place of what cannot be read."""
    if not (folder / RAW).is_file():
        raise no_such_file(folder / RAW, DataError)
    raw = dict(list(_answers(folder / RAW))[:limit])
    pairs = {name: pair for name, (prompt, one, two) in raw.items() if (pair := _pair_of(prompt, one, two))}
    left_out = {"raw: both answers alike": len(raw) - len(pairs)} if len(raw) > len(pairs) else {}
    probes: list[Probe] = []
    for path in sorted(folder.glob("*.jsonl")):
        if path.name != RAW:
            found, without = _probes_of(path, raw)
            probes += found
            if without:
                left_out[f"{path.stem}: no one answer of a raw pair is changed"] = without
    return ProbeSet(tuple(pairs.values()), tuple(probes), left_out)


def _probes_of(path: Path, raw: Mapping[str, tuple[Prompt, str, str]]) -> tuple[list[Probe], int]:
    """The changes of one file: exactly one answer differs from that of the raw pair."""
    name = path.stem
    kind: Kind = "worse" if name in MADE_WORSE else "irrelevant"
    probes, without = [], 0
    for question, (_, one, two) in _answers(path):
        base = raw.get(question.removesuffix(f"-{name}"))
        if base is None:
            continue  # beyond the limit
        prompt, raw_one, raw_two = base
        differs = [one != raw_one, two != raw_two]
        if differs == [True, False]:
            plain, other, changed = raw_one, raw_two, one
        elif differs == [False, True]:
            plain, other, changed = raw_two, raw_one, two
        else:
            without += 1
            continue
        if len({plain, other, changed}) < 3:
            without += 1
            continue
        responses = (bare_response(prompt.id, text) for text in (plain, other, changed))
        probes.append(Probe(name, kind, prompt, *responses))
    return probes, without


def _pair_of(prompt: Prompt, one: str, two: str) -> ResponsePair | None:
    first, second = (bare_response(prompt.id, text) for text in (one, two))
    return paired(prompt, first, second) if first.id != second.id else None


def _answers(path: Path) -> Iterator[tuple[str, tuple[Prompt, str, str]]]:
    """(question id, prompt, both answers) of every line."""
    for where, row in _lines(path):
        try:
            answers = [row["answers"][side]["answer"] for side in ("answer1", "answer2")]
            prompt = row.get("prompt") or row["question"]
            texts = [str(row["question_id"]), prompt, *answers]
        except (KeyError, TypeError) as error:
            do = "A line has question_id, prompt, and answers.answer1.answer and answers.answer2.answer."
            raise DataError(f"the line has no {error}.", where=where, do=do) from error
        if not all(isinstance(text, str) for text in texts):
            raise DataError("a prompt or an answer is not a text.", where=where)
        yield texts[0], (Prompt(messages=(Message("user", texts[1]),)), texts[2], texts[3])


def _pairs(path: Path, one: str, other: str) -> Iterator[tuple[str, ResponsePair]]:
    for where, row in _lines(path):
        prompt = Prompt(messages=(Message("user", row["prompt"]),))
        pair = _pair_of(prompt, row[one], row[other])
        if pair is None:
            raise DataError("both answers are the same.", where=where)
        yield row["id"], pair


def _lines(path: Path) -> Iterator[tuple[Where, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = Where(str(path), number)
        if line.strip():
            try:
                yield where, json.loads(line)
            except ValueError as error:
                raise DataError(f"not valid JSON: {error}.", where=where) from error
