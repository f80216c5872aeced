"""The scripted engine: the same answers every time, faults on demand, and a list of what it was asked."""

import math
from dataclasses import replace

import pytest

from rlaif.engines import context_length, identify, open_engine
from rlaif.engines.base import Completion, Engine, Failure, Request, Sampling
from rlaif.engines.scripted import Faults, ScriptedEngine, prefer
from rlaif.errors import EngineCrashed
from rlaif.records import Message
from rlaif.settings import EngineSettings


def judge_request(n, first="kind words", second="sorry, no"):
    text = f"Compare.\n<response_a>\n{first}\n</response_a>\n<response_b>\n{second}\n</response_b>\nprinciple {n}"
    return Request(id=f"r{n}", messages=(Message("user", text),), sampling=Sampling(max_tokens=1), choices=("A", "B"))


def text_request(n, **sampling):
    wanted = Sampling(**{"max_tokens": 50, "temperature": 1.0, "seed": n, **sampling})
    return Request(id=f"t{n}", messages=(Message("user", "say something"),), sampling=wanted)


def test_it_is_an_engine_and_is_reached_from_settings(tmp_path):
    settings = EngineSettings(kind="scripted", max_model_len=100)
    with open_engine(settings, "anything", log_file=tmp_path / "log") as engine:
        assert isinstance(engine, Engine)
        assert engine.identity == identify(settings, "anything")
        assert engine.max_model_len == context_length(settings, "anything") == 100
    assert identify(settings, "one") != identify(settings, "two")


def test_answers_depend_on_the_request_alone_not_on_order_id_or_run():
    requests = [judge_request(n) for n in range(20)] + [text_request(n) for n in range(20)]
    forward = {a.request_id: a for a in ScriptedEngine().complete(requests)}
    backward = {a.request_id: a for a in ScriptedEngine().complete(requests[::-1])}
    assert forward == backward
    assert len({forward[f"t{n}"].text for n in range(20)}) == 20  # seeds make texts differ
    renamed = Request(id="other", messages=requests[0].messages, sampling=requests[0].sampling, choices=("A", "B"))
    (again,) = ScriptedEngine().complete([renamed])
    assert again.choice_logprobs == forward["r0"].choice_logprobs


def test_a_greedy_text_has_no_seed_in_it():
    one, two = ScriptedEngine().complete([text_request(1, temperature=0.0), text_request(2, temperature=0.0)])
    assert one.text == two.text


def test_choice_probabilities_and_the_uncovered_mass_sum_to_one():
    for answer in ScriptedEngine().complete(judge_request(n) for n in range(50)):
        assert sum(map(math.exp, answer.choice_logprobs)) + answer.uncovered == pytest.approx(1, abs=1e-12)


def test_a_rule_that_looks_at_the_answers_decides():
    engine = ScriptedEngine(rules=[prefer(lambda text: "sorry" in text, probability=0.8)])
    there, back, both = engine.complete(
        [judge_request(0), judge_request(1, "sorry", "no"), judge_request(2, "sorry", "sorry")]
    )
    assert [math.exp(x) for x in there.choice_logprobs] == pytest.approx([0.2, 0.8])
    assert [math.exp(x) for x in back.choice_logprobs] == pytest.approx([0.8, 0.2])
    assert [math.exp(x) for x in both.choice_logprobs] == pytest.approx([0.5, 0.5])


def test_faults_come_by_share_and_by_id():
    faults = Faults(failed=0.2, by_id={"r7": "refused"})
    answers = {a.request_id: a for a in ScriptedEngine(faults=faults).complete(judge_request(n) for n in range(500))}
    assert answers["r7"].kind == "refused"
    failed = sum(isinstance(a, Failure) and a.kind == "failed" for a in answers.values())
    assert 60 < failed < 140


def test_abstaining_leaves_nearly_everything_uncovered():
    for answer in ScriptedEngine(faults=Faults(abstain=1.0)).complete([judge_request(0)]):
        assert answer.uncovered > 0.98


def test_truncated_text_ends_with_length_and_is_shorter():
    whole = next(iter(ScriptedEngine().complete([text_request(3)])))
    cut = next(iter(ScriptedEngine(faults=Faults(truncated=1.0)).complete([text_request(3)])))
    assert (whole.finish_reason, cut.finish_reason) == ("stop", "length")
    assert cut.output_tokens < whole.output_tokens


def test_max_tokens_cuts_a_rules_text_too():
    engine = ScriptedEngine(rules=[lambda request: "one two three four"])
    (answer,) = engine.complete([text_request(0, max_tokens=2)])
    assert (answer.text, answer.finish_reason, answer.output_tokens) == ("one two", "length", 2)


def test_a_crash_comes_after_as_many_answers_as_told_and_all_of_them_are_given():
    engine = ScriptedEngine(faults=Faults(crash_after=3))
    stream = engine.complete(judge_request(n) for n in range(10))
    assert [next(stream).request_id for _ in range(3)] == ["r0", "r1", "r2"]
    with pytest.raises(EngineCrashed):
        next(stream)
    assert [call.id for call in engine.calls] == ["r0", "r1", "r2"]


def test_a_prompt_longer_than_the_context_is_a_failure_with_both_numbers():
    (answer,) = ScriptedEngine(max_model_len=5).complete([judge_request(0)])
    assert answer.kind == "too_long"
    assert str(answer.prompt_tokens) in answer.reason
    assert " 5" in answer.reason


def test_counters_add_up():
    engine = ScriptedEngine()
    answers = [a for a in engine.complete([judge_request(0), text_request(1)]) if isinstance(a, Completion)]
    counted = engine.counters()
    assert counted.requests == 2
    assert counted.prompt_tokens == counted.computed_tokens == sum(a.prompt_tokens for a in answers)
    assert counted.output_tokens == sum(a.output_tokens for a in answers)


def test_a_turn_that_has_begun_is_part_of_the_question():
    plain, begun = judge_request(0), replace(judge_request(0), id="p", prefill="One two. Verdict:")
    got = {answer.request_id: answer for answer in ScriptedEngine().complete([plain, begun])}
    assert got["p"].choice_logprobs != got["r0"].choice_logprobs
    assert got["p"].prompt_tokens == got["r0"].prompt_tokens + 4  # the three words, and one for the turn


def test_a_scripted_judge_may_think_and_run_out_of_budget():
    engine = ScriptedEngine(rules=[lambda request: "<think>it is a b</think> Verdict: A"])
    whole, cut = engine.complete([text_request(0), text_request(1, max_tokens=3)])
    assert (whole.text, whole.thinking, whole.is_thinking_open) == ("Verdict: A", "it is a b", False)
    assert (cut.text, cut.finish_reason, cut.is_thinking_open) == ("", "length", True)
