"""The books of `rlaif generate` under faults: every planned request ends in exactly one outcome, and all are printed.

The witness is an engine that counts what it answered, by rules of its own: nothing is asked of the code under test.
"""

import json
import math
import random
import re
from collections import Counter

import pytest

from rlaif.cli import main
from rlaif.engines import opening
from rlaif.engines.base import Failure
from rlaif.engines.scripted import Faults, ScriptedEngine
from rlaif.records import OUTCOMES
from tests.faults.kill_projects import Project
from tests.faults.made_up import number

STAGES = ("sample", "judge", "critique")


def outcome_of(request, answer):
    """How an answer is to be counted."""
    if isinstance(answer, Failure):
        return "failed" if answer.kind == "failed" else "refused"
    if request.choices:
        first, second = answer.choice_logprobs
        if math.exp(first) + math.exp(second) < 0.2:  # judge.min_covered
            return "abstained"
        return "tie" if first == second else "ok"
    if answer.finish_reason == "length":
        return "truncated"
    return "ok" if answer.text.strip() else "abstained"


def stage_of(request, model):
    return "sample" if model == "policy" else "judge" if request.choices else "critique"


def some_ties(request):
    """A judge's rule: now and then exactly one half each."""
    return (0.45, 0.45) if request.choices and number("tie", request.messages[0].content) < 0.1 else None


def some_silence(request):
    """A model's rule: now and then no text at all."""
    asked = ("silence", request.messages[0].content, request.sampling.seed)
    return "" if not request.choices and number(*asked) < 0.1 else None


@pytest.fixture
def generate(tmp_path, monkeypatch, capsys):
    """`rlaif generate` with faults; gives (exit code, stdout, stderr, what the engines answered by stage)."""
    project = Project(tmp_path / "project", {"kind": "scripted"})
    monkeypatch.chdir(project.folder)

    def run(faults, *arguments):
        answered = {stage: Counter() for stage in STAGES}

        class Counting(ScriptedEngine):
            def __init__(self, model, **options):
                super().__init__(model, faults=faults, rules=(some_ties, some_silence), **options)

            def complete(self, requests):
                for answer in super().complete(requests):
                    request = self.calls[-1]
                    answered[stage_of(request, self.model)][outcome_of(request, answer)] += 1
                    yield answer

        monkeypatch.setattr(opening, "ScriptedEngine", Counting)
        code = 0
        try:
            main.run(["generate", "--set", "policies.0.samples=4", *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr(), answered

    run.project = project
    return run


def stages_of(project):
    return json.loads(project.files()["run.json"])["stages"]


def printed_books(out):
    """{stage: [planned, outcomes …]} of the table that a run prints."""
    lines = re.findall(r"^ (sample|judge|critique) +([\d, ]+)$", out, re.MULTILINE)
    return {name: [int(number.replace(",", "")) for number in numbers.split()] for name, numbers in lines}


def mixtures():
    """One fault alone, all of it or a share, and mixtures of chance."""
    chance, names = random.Random(8), ("failed", "refused", "truncated", "abstain", "unparsed")
    alone = [{name: share} for name in names for share in (0.3, 1.0)]
    mixed = [{name: chance.choice([0.0, chance.uniform(0, 0.4)]) for name in names} for _ in range(8)]
    return [pytest.param(Faults(**shares), id=name_of(shares)) for shares in ({}, *alone, *mixed)]


def name_of(shares):
    return ",".join(f"{name}={share:.2f}" for name, share in shares.items() if share) or "none"


@pytest.mark.parametrize("faults", mixtures())
def test_every_planned_request_ends_in_one_counted_outcome(generate, faults):
    code, out, err, answered = generate(faults)
    stages = stages_of(generate.project)
    for name, stage in stages.items():
        assert tuple(stage["outcomes"]) == OUTCOMES
        assert sum(stage["outcomes"].values()) == stage["planned"]
        assert {outcome: count for outcome, count in stage["outcomes"].items() if count} == dict(answered[name])
    assert stages["sample"]["planned"] == 6 * 4
    judged = stages["judge"]["outcomes"]
    useful, planned = judged["ok"] + judged["tie"], stages["judge"]["planned"]
    is_short = planned and 1 - useful / planned > 0.05  # max_no_verdict_share
    is_empty = not generate.project.files()["pairs.jsonl"]
    assert (code == 5) == bool(is_short or is_empty), err
    if is_short:
        assert f"{1 - useful / planned:.1%} of {planned} judgments have no verdict" in err
    if code == 0:
        printed = printed_books(out)
        for name, stage in stages.items():
            assert printed[name][0] == stage["planned"] == sum(printed[name][1:])


def test_a_stage_can_end_in_every_outcome_it_has(generate):
    """A judge's verdict is a number: no text to be cut or misread. Policy and critic write: no ties, and any text is
    one. `unparsed` is for verdicts in words, which nothing reads yet."""
    lines = [json.dumps({"prompt": f"Question number {n}?"}) for n in range(40)]
    (generate.project.folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    faults = Faults(failed=0.15, refused=0.1, truncated=0.2, abstain=0.1, unparsed=0.1)
    _, _, _, answered = generate(faults, "--set", "max_no_verdict_share=1")
    stages = stages_of(generate.project)
    text = {"ok", "abstained", "truncated", "refused", "failed"}
    for name, reached in (("sample", text), ("judge", text - {"truncated"} | {"tie"}), ("critique", text)):
        assert set(answered[name]) == reached
        assert {outcome for outcome, count in stages[name]["outcomes"].items() if count} == reached
        assert sum(stages[name]["outcomes"].values()) == stages[name]["planned"] == answered[name].total()


def test_the_share_without_a_verdict_that_is_allowed_is_the_users(generate):
    faults = Faults(abstain=0.3)
    assert generate(faults)[0] == 5
    code, out, _, answered = generate(faults, "--set", "max_no_verdict_share=0.9")
    assert code == 0
    assert not any(answered.values())  # nothing is asked again for it
    assert printed_books(out)["judge"][0] == stages_of(generate.project)["judge"]["planned"]


def test_what_failed_or_was_refused_is_asked_again_and_nothing_else(generate):
    """Also of what hangs on it: an answer that comes the second time makes pairs that were never asked about."""
    _, _, _, first = generate(Faults(failed=0.2, refused=0.1))
    assert first["judge"]["failed"]
    assert first["judge"]["refused"]
    _, _, _, again = generate(Faults())
    for name, stage in stages_of(generate.project).items():
        assert sum(stage["outcomes"].values()) == stage["planned"]
        assert not stage["outcomes"]["failed"] + stage["outcomes"]["refused"]
        if name != "critique":  # which pairs enter the dataset may change
            kept = first[name].total() - first[name]["failed"] - first[name]["refused"]
            assert again[name].total() == stage["planned"] - kept


@pytest.mark.parametrize("after", [0, 1, 10, 24, 30, 100])
def test_an_engine_that_dies_leaves_books_that_balance_after_the_next_run(generate, after):
    code, _, err, first = generate(Faults(crash_after=after))
    assert code == 3
    assert "crashed after" in err
    code, _, err, rest = generate(Faults())
    assert code in (0, 5), err
    for name, stage in stages_of(generate.project).items():
        assert sum(stage["outcomes"].values()) == stage["planned"] == (first[name] + rest[name]).total()
