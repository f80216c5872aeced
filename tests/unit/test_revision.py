"""Critique and revision on the scripted engine: what is asked, what an edit asks again, and what is made of it."""

import json
from collections import Counter

import pytest

from rlaif.cli import main
from rlaif.constitution.principles import Example
from rlaif.engines import opening
from rlaif.engines.scripted import Faults, ScriptedEngine
from rlaif.errors import BudgetReached, EngineCrashed
from rlaif.feedback.budget import Budget
from rlaif.feedback.explain import explain
from rlaif.feedback.revision.draw import CRITIQUE_REQUEST, draw_principle, shown_text
from rlaif.feedback.revision.figures import Preference
from rlaif.pair_dataset import read_rows
from rlaif.records import OUTCOMES
from rlaif.settings import JudgesSettings, PolicySettings, SamplingSettings
from rlaif.store import Store
from tests.faults.made_up import number as number_of
from tests.revisions import Revisions, between, half_of, writes
from tests.roads import constitution, principle, prompts


@pytest.fixture
def revisions(tmp_path):
    return Revisions(tmp_path)


def test_a_round_asks_one_critique_and_one_revision_of_every_answer_and_judges_against_the_first(revisions):
    revisions.run(8)
    # 2 rounds; 2 pairs of a revision and the first answer, under 3 principles in both orders
    assert revisions.asked() == {"sample": 8, "critique": 16, "revise": 16, "judge": 8 * 2 * 3 * 2}
    assert revisions.summary["answers"] == 8


def test_a_second_run_asks_nothing_and_writes_the_same_bytes(revisions):
    revisions.run(8)
    revisions.run(8, name="again")
    assert revisions.requests == []
    first, again = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (revisions.folder / "run", revisions.folder / "again")
    )
    assert len(first) > 10
    assert first == again


def test_each_round_works_on_the_answer_of_the_round_before_under_its_principle(revisions):
    revisions.run(6)
    shown = {request.id: request.messages[-1].content for request in revisions.requests if half_of(request)}
    texts = {one.id: one.text for one in constitution().principles}
    rows = revisions.rounds_of()
    assert len(rows) == 6 * 2
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert (first["round"], second["round"]) == (1, 2)
        assert second["before_id"] == first["after_id"]
        assert second["before"] == first["revision_text"]
        assert first["before_id"] == first["original_id"]
    for row in rows:
        critic, writer = shown[row["critique_key"]], shown[row["revision_key"]]
        assert between(critic, "response") == between(writer, "response") == row["before"]
        assert between(critic, "principle") == between(writer, "principle") == texts[row["principle"]]
        assert between(writer, "critique") == row["critique_text"]
        assert CRITIQUE_REQUEST in critic


def test_lineage_ends_in_the_example_and_in_the_pair(revisions):
    revisions.run(6)
    by_answer = {}
    for row in revisions.rounds_of():
        by_answer.setdefault(row["original_id"], []).append(row)
    examples, pairs = revisions.lines("sft.jsonl"), revisions.lines("pairs.jsonl")
    assert len(examples) == 6
    for example in examples:
        rows = by_answer[example["original_id"]]
        assert [one["revision_key"] for one in example["lineage"]] == [row["revision_key"] for row in rows]
        assert example["completion"][0]["content"] == rows[-1]["revision_text"]
        assert example["revision_id"] == rows[-1]["after_id"]
    assert pairs
    for pair in pairs:
        rows = by_answer[pair["original_id"]][: pair["round"]]
        assert [one["critique"] for one in pair["lineage"]] == [row["critique_text"] for row in rows]
        assert {pair["chosen_id"], pair["rejected_id"]} == {pair["original_id"], pair["revision_id"]}
        assert pair["is_revision_chosen"] == (pair["chosen_id"] == pair["revision_id"])
        assert pair["revision_id"] == rows[-1]["after_id"]


@pytest.mark.parametrize(("word", "share"), [("kind", 1.0), ("nothing", None)])
def test_the_judge_says_how_often_a_revision_is_better(tmp_path, word, share):
    """A judge that wants the word «kind»: it prefers revisions that bring it, and sees a tie where nothing changes."""
    silent = lambda request: "a plain answer" if half_of(request) is None else None  # noqa: E731
    run = Revisions(tmp_path, rounds=1, principles=(principle("kind", "kind"),), rules=(writes(word), silent))
    run.run(8)
    (everything, drawn) = run.summary["preferences"]
    assert (everything["principle"], drawn["principle"]) == (None, "kind")
    assert everything["by_label"]["pairs"] == 8
    assert everything["by_label"] == everything["by_drawn_principle"] == drawn["by_label"]
    if share:
        assert everything["by_label"]["share"] == share
        assert run.summary["pairs_with_revision_chosen"] == run.summary["pairs"] == 8
    else:
        assert everything["by_label"]["tie"] == 8
        assert run.summary["pairs"] == 0


def test_a_judge_may_prefer_every_original(tmp_path):
    """The revision takes the wanted word away: nothing of it is taken to be better for being later."""

    def spoil(request):
        return "short" if half_of(request) == "revise" else "kind words" if half_of(request) is None else None

    run = Revisions(tmp_path, rounds=1, principles=(principle("kind", "kind"),), rules=(spoil,))
    run.run(5)
    assert run.summary["preferences"][0]["by_label"]["original"] == 5
    assert run.summary["pairs_with_revision_chosen"] == 0
    assert [row["is_revision_chosen"] for row in run.lines("pairs.jsonl")] == [False] * 5
    assert [round(row["probability"], 6) for row in run.lines("sft.jsonl")] == [0.1] * 5


def test_the_interval_of_a_share_is_wilsons():
    """Against the closed form, (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)."""
    seen = Preference()
    for probability in (*[0.9] * 7, *[0.2] * 2, 0.5, *[None] * 4):
        seen.add([probability])
    found = seen.as_json()
    assert [found[name] for name in ("revision", "original", "tie", "no_verdict")] == [7, 2, 1, 4]
    z, n, p = 1.959963984540054, 10, 0.7
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert (found["pairs"], found["share"]) == (14, 0.7)
    assert found["low"] == pytest.approx((middle - half) / (1 + z * z / n))
    assert found["high"] == pytest.approx((middle + half) / (1 + z * z / n))
    silent = Preference()
    silent.add([None, None])
    assert (silent.as_json()["share"], silent.as_json()["prompts"]) == (None, 0)


def test_several_policies_answers_to_one_prompt_are_not_taken_as_apart():
    apart, together = Preference(), Preference()
    for probability in [0.9] * 12 + [0.2] * 8:
        apart.add([probability])
    for probability in [0.9] * 6 + [0.2] * 4:
        together.add([probability, probability])
    one, two = apart.as_json(), together.as_json()
    assert (one["pairs"], one["share"]) == (two["pairs"], two["share"]) == (20, 0.6)
    assert two["high"] - two["low"] > 1.3 * (one["high"] - one["low"])


# --- edits


@pytest.mark.parametrize("what", ["text", "critique_request", "revision_request"])
def test_an_edited_principle_asks_again_the_rounds_that_drew_it_and_what_follows(tmp_path, what):
    names = ("kind", "example", "short", "plain")
    before = tuple(principle(name, name) for name in names)
    run = Revisions(tmp_path, rounds=2, principles=before)
    run.run(20)
    old = {(row["prompt_id"], row["round"]): row for row in run.rounds_of()}
    changed = before[0].model_copy(update={what: "A good answer always says «kind»."})
    run.principles = (changed, *before[1:])
    run.run(20, name="edited")
    new = {(row["prompt_id"], row["round"]): row for row in run.rounds_of("edited")}
    assert {at: row["principle"] for at, row in old.items()} == {at: row["principle"] for at, row in new.items()}
    critiques = revised = 0
    for prompt, number in old:
        drew = old[prompt, number]["principle"] == "kind"
        follows = number == 2 and old[prompt, 1]["principle"] == "kind"
        is_asked = follows or (drew and what != "revision_request")
        critiques += is_asked
        revised += follows or drew
    asked = run.asked()
    assert (asked["sample"], asked["critique"], asked["revise"]) == (0, critiques, revised)
    assert 0 < revised < 40


def test_weights_order_and_names_of_runs_ask_nothing(tmp_path):
    before = (principle("kind", "kind"), principle("example", "example"))
    run = Revisions(tmp_path, principles=before)
    run.run(8)
    run.principles = (before[1], before[0].model_copy(update={"weight": 3.0}))
    run.run(8)
    assert run.requests == []


def test_one_more_round_keeps_the_ones_before(revisions):
    revisions.rounds = 1
    revisions.run(8)
    revisions.rounds = 2
    revisions.run(8)
    assert revisions.asked() == {"sample": 0, "critique": 8, "revise": 8, "judge": 8 * 3 * 2}


def test_a_raised_limit_asks_again_only_what_was_cut(revisions):
    revisions.rounds, revisions.more = 1, {"critique_max_tokens": 20, "revision_max_tokens": 400}
    revisions.run(12)
    cut = revisions.summary["stages"]["critique, round 1"]["outcomes"]["truncated"]
    assert 0 < cut < 12
    revisions.more = {"critique_max_tokens": 400, "revision_max_tokens": 400}
    revisions.run(12)
    assert (revisions.asked()["critique"], revisions.asked()["revise"]) == (cut, cut)


def test_a_lowered_limit_asks_again_only_what_is_longer(revisions):
    revisions.rounds = 1
    revisions.run(12)
    critiques = [row["critique_text"] for row in revisions.rounds_of()]
    longer = sum(len(text.split()) > 20 for text in critiques)
    assert 0 < longer < 12
    revisions.more = {"critique_max_tokens": 20}
    revisions.run(12)
    assert revisions.asked()["critique"] == longer
    assert revisions.summary["stages"]["critique, round 1"]["outcomes"]["truncated"] == longer


def test_a_writer_of_its_own_criticises_and_rewrites(revisions):
    revisions.writer = "writer"
    revisions.run(4)
    assert {half_of(request) for request in revisions.roads.asked["writer"]} == {"critique", "revise"}
    assert {half_of(request) for request in revisions.roads.asked["policy"]} == {None}
    assert {row["writer"] for row in revisions.lines("sft.jsonl")} == {"writer"}


def test_two_policies_keep_their_answers_apart(tmp_path):
    run = Revisions(tmp_path, rounds=1)
    two = tuple(PolicySettings(model=name, sampling=SamplingSettings(max_tokens=40)) for name in ("one", "two"))
    run.policies = two
    run.run(3)
    rows = run.rounds_of()
    assert Counter(row["policy"] for row in rows) == {"one": 3, "two": 3}
    assert [row["policy"] for row in run.lines("sft.jsonl")] == ["one", "two"] * 3
    assert all(row["writer"] == row["policy"] for row in run.lines("sft.jsonl"))


# --- drawing


def test_a_draw_depends_on_prompt_and_round_and_each_principle_is_drawn_about_as_often():
    own = constitution().principles
    drawn = Counter(draw_principle(prompt, number, own).id for prompt in prompts(500) for number in (1, 2, 3))
    assert all(430 < count < 570 for count in drawn.values())  # 500 ± 3.8 standard deviations
    apart = sum(draw_principle(one, 1, own) != draw_principle(one, 2, own) for one in prompts(300))
    assert 160 < apart < 240  # two thirds of 300


def test_a_new_principle_changes_only_the_draws_it_wins():
    own = constitution().principles
    more = (*own, principle("new", "new"))
    for prompt in prompts(200):
        after = draw_principle(prompt, 1, more)
        assert after.id == "new" or after == draw_principle(prompt, 1, own)
    assert draw_principle(prompts(1)[0], 1, ()) is None


def test_only_principles_with_requests_are_drawn_where_that_is_wanted(tmp_path):
    own = principle("kind", "kind", critique_request="Is it kind?", revision_request="Make it kind.")
    run = Revisions(tmp_path, principles=(principle("short", "short"), own), more={"principles": "with_requests"})
    run.run(6)
    assert {row["principle"] for row in run.rounds_of()} == {"kind"}
    shown = [request.messages[-1].content for request in run.requests if half_of(request)]
    assert all(("Is it kind?" in text) != ("Make it kind." in text) for text in shown)


def test_prompts_without_a_principle_are_counted(tmp_path):
    run = Revisions(tmp_path, rounds=1, principles=(principle("kind", "kind", tags=frozenset({"other"})),))
    run.run(3)
    assert run.asked() == {"sample": 3, "critique": 0, "revise": 0, "judge": 0}
    assert run.summary["rounds"][0]["endings"] == {"no principle to draw": 3}


def test_examples_of_the_constitution_are_shown_as_the_work_to_do():
    example = Example(conversation="Hi?", response_a="Hello!", response_b="What?", better="A", why="B is rude.")
    text = shown_text(principle("kind", "kind", examples=(example,)))
    shown = ["Example. Hi?", "Response (B): What?", "Better response (A): Hello!", "Why: B is rude."]
    assert text.splitlines()[2:] == shown


# --- what does not come


def test_revisions_that_change_nothing_are_no_pairs(tmp_path):
    def same(request):
        return between(request.messages[-1].content, "response") + "\n" if half_of(request) == "revise" else None

    run = Revisions(tmp_path, rounds=1, rules=(same,))
    run.run(5)
    assert run.summary["left_out"] == {"round 1: revision equal to the answer before": 5}
    assert (run.summary["examples"], run.asked()["judge"]) == (0, 0)


def test_a_revision_that_leads_back_to_the_original_is_no_pair(tmp_path):
    def back_and_forth(request):
        if half_of(request) == "revise":
            return "the other" if between(request.messages[-1].content, "response") == "the one" else "the one"
        return "the one" if half_of(request) is None else None

    run = Revisions(tmp_path, rounds=2, rules=(back_and_forth,))
    run.run(5)
    assert run.summary["left_out"]["round 2: revised back to the original"] == 5
    assert (run.summary["examples"], run.summary["no_examples"]) == (0, {"revised back to the original": 5})
    assert run.asked()["judge"] == 5 * 3 * 2


def now_and_then_silent(request):
    return "" if half_of(request) and number_of(request.messages[-1].content) < 0.1 else None


@pytest.mark.parametrize(
    "faults",
    [
        Faults(),
        Faults(failed=0.3),
        Faults(refused=1.0),
        Faults(truncated=0.4),
        Faults(failed=0.15, refused=0.1, truncated=0.2, unparsed=0.1),
    ],
    ids=["none", "failed", "refused", "truncated", "mixture"],
)
def test_every_request_and_every_answer_ends_in_one_counted_outcome(tmp_path, faults):
    run = Revisions(tmp_path, faults=faults, rules=(now_and_then_silent,))
    run.run(30)
    stages = run.summary["stages"]
    for stage in stages.values():
        assert tuple(stage["outcomes"]) == OUTCOMES
        assert sum(stage["outcomes"].values()) == stage["planned"]
    asked = run.asked()
    assert asked["sample"] == stages["sample"]["planned"] == 30
    assert asked["critique"] <= sum(stages[f"critique, round {n}"]["planned"] for n in (1, 2))
    assert asked["judge"] == stages["judge"]["planned"]
    if faults.refused != 1.0:
        assert stages["critique, round 1"]["outcomes"]["abstained"] > 0
    for number, row in enumerate(run.summary["rounds"], start=1):
        assert sum(row["endings"].values()) == row["answers"] == stages["sample"]["outcomes"]["ok"]
        written = stages[f"critique, round {number}"]["outcomes"]["ok"]
        assert stages[f"revise, round {number}"]["planned"] == written
    assert run.summary["examples"] + sum(run.summary["no_examples"].values()) == run.summary["answers"]
    labels = len(list(read_rows(run.folder / "run" / "labels.parquet")))
    changed = sum(row["endings"].get("revised", 0) for row in run.summary["rounds"])
    lost = sum(n for why, n in run.summary["left_out"].items() if why.endswith(("the original", "as another")))
    assert labels + lost == changed


def test_a_round_that_fails_leaves_the_answer_for_the_next(tmp_path):
    silent_critic = lambda request: "" if half_of(request) == "critique" else None  # noqa: E731
    run = Revisions(tmp_path, rules=(silent_critic,))
    run.run(3)
    assert run.asked()["revise"] == 0
    assert {row["ending"] for row in run.rounds_of()} == {"critique abstained"}
    assert {row["before_id"] == row["original_id"] for row in run.rounds_of()} == {True}


@pytest.mark.parametrize("after", [0, 5, 9, 20, 40])
def test_a_run_that_died_goes_on_and_ends_in_the_same_files(tmp_path, after):
    whole = Revisions(tmp_path / "whole")
    whole.run(8)
    broken = Revisions(tmp_path / "broken", faults=Faults(crash_after=after))
    with pytest.raises(EngineCrashed):
        broken.run(8)
    begun = len(broken.requests)
    broken.faults = None
    broken.run(8)
    assert begun + len(broken.requests) == len(whole.requests)
    for name in ("sft.jsonl", "pairs.jsonl", "rounds.parquet", "revisions.json"):
        assert (broken.folder / "run" / name).read_bytes() == (whole.folder / "run" / name).read_bytes()


def test_a_budget_stops_a_run_and_the_next_goes_on(revisions):
    with pytest.raises(BudgetReached):
        revisions.run(8, budget=Budget(calls=20))
    assert len(revisions.requests) == 20
    assert not (revisions.folder / "run" / "revisions.json").exists()
    revisions.run(8)
    assert len(revisions.requests) == 8 * 5 + 8 * 2 * 3 * 2 - 20


# --- the plan


def test_the_plan_counts_what_a_run_asks(revisions):
    fresh = revisions.plan()
    assert (fresh.calls("sample"), fresh.calls("critique"), fresh.calls("revise")) == (8, 16, 16)
    assert fresh.is_estimated("critique")
    revisions.run(8)
    assert fresh.calls("judge") == revisions.asked()["judge"]
    assert revisions.plan().total_calls == 0
    assert fresh.as_json()["revision_calls"] == 16


def test_revisions_come_before_several_judges(tmp_path):
    """A cascade: the first judge sees every pair, `judge` what it leaves unsure; and the figures are those of both."""
    judges = JudgesSettings(others=({"model": "small"},), ask="cascade", threshold=0.2)
    run = Revisions(tmp_path, judges=judges)
    plan = run.plan()
    run.run(8)
    books = {name: stage["planned"] for name, stage in run.summary["stages"].items()}
    assert books["judge: small"] == len(run.roads.asked["small"]) == 8 * 2 * 3 * 2
    asked_last = [one for one in run.roads.asked["judge"] if one.choices]
    assert 0 < books["judge"] == len(asked_last) < books["judge: small"]
    steps = {step.bill.model: step.is_estimated for step in plan.steps if step.stage == "judge"}
    assert steps == {"small": True, "judge": True}
    assert [one["name"] for one in run.summary["other_judges"]] == ["small"]
    run.run(8)
    assert run.requests == []
    assert run.plan().total_calls == 0
    with Store(tmp_path / "store") as store:
        for row in read_rows(tmp_path / "run" / "labels.parquet"):
            found = explain(tmp_path / "run", row, store)
            assert found.probability_x == found.recorded


def test_the_plan_of_an_edit_names_the_principle_and_the_round(tmp_path):
    before = (principle("kind", "kind"), principle("example", "example"))
    run = Revisions(tmp_path, rounds=1, principles=before)
    run.run(10)
    run.principles = (before[0].model_copy(update={"critique_request": "Is it kind?"}), before[1])
    plan = run.plan(10)
    drew = sum(row["principle"] == "kind" for row in run.rounds_of())
    told = [group for group in plan.groups if group.stage == "critique"]
    assert [(group.reason, group.calls) for group in told] == [("round 1, principle kind: not asked yet", drew)]
    assert not plan.is_estimated("critique")
    assert plan.is_estimated("revise")
    run.run(10)
    assert plan.calls("critique") == run.asked()["critique"] == drew
    assert plan.calls("revise") == run.asked()["revise"]


def test_blocks_of_any_size_give_the_same_files(tmp_path, monkeypatch):
    from rlaif.feedback import road as road_module

    one, many = Revisions(tmp_path / "one"), Revisions(tmp_path / "many")
    one.run(9)
    monkeypatch.setattr(road_module, "BLOCK_JUDGMENTS", 1)
    many.run(9)
    for name in ("sft.jsonl", "pairs.jsonl", "rounds.parquet", "labels.parquet", "revisions.json"):
        assert (one.folder / "run" / name).read_bytes() == (many.folder / "run" / name).read_bytes()


# --- the command


PROJECT = """
name: said
constitution: small
prompts: [{path: prompts.jsonl}]
policies: [{model: policy}]
judge: {model: judge}
engine: {kind: scripted}
"""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    (tmp_path / "rlaif.yaml").write_text(PROJECT)
    lines = [json.dumps({"prompt": f"Question number {n}?"}) for n in range(4)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = 0
        try:
            main.run(["revise", *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return run


def test_the_command_plans_runs_and_has_nothing_left_to_ask(command, tmp_path):
    code, out, _ = command("--plan", "--json")
    assert (code, json.loads(out)["revision_calls"]) == (0, 4)
    assert not (tmp_path / "outputs/runs/said-revisions/revisions.json").exists()
    code, out, err = command()
    assert code == 0, err
    assert "4 prompts with their last revision" in out
    assert {path.name for path in (tmp_path / "outputs/runs").iterdir()} == {"said-revisions"}
    code, out, _ = command("--plan")
    assert "Nothing to ask" in out


def test_critique_and_revision_share_all_that_comes_before_what_is_asked(revisions):
    """Prefix caching: the two halves of a round differ from the critique's request on."""
    revisions.run(1)
    shown = {half_of(request): request.messages[-1].content for request in revisions.requests if half_of(request)}
    ends = {half: text.index("</principle>") for half, text in shown.items()}
    assert shown["critique"][: ends["critique"]] == shown["revise"][: ends["revise"]]


def test_the_first_answers_are_those_of_generate(command, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main.run(["generate", "--json"])
    capsys.readouterr()
    _, out, _ = command("--plan", "--json")
    assert json.loads(out)["sample_calls"] == 0


def test_store_gc_keeps_what_revisions_rest_on(command, tmp_path, capsys):
    command()
    with pytest.raises(SystemExit):
        main.run(["store", "gc"])
    assert "revisions: 0 of 4 removed" in capsys.readouterr().out
    _, out, _ = command("--plan", "--json")
    plan = json.loads(out)
    assert [plan[f"{name}_calls"] for name in ("sample", "critique", "revision", "judge")] == [0, 0, 0, 0]


def test_load_dataset_reads_both_folders(command, tmp_path):
    from datasets import load_dataset

    command("--set", "revision.rounds=2")
    for name, columns in (("sft", {"prompt", "completion", "lineage"}), ("pairs", {"chosen", "rejected", "lineage"})):
        place = tmp_path / "outputs/runs/said-revisions" / name
        loaded = load_dataset(str(place), cache_dir=str(tmp_path / "cache"))["train"]
        assert columns <= set(loaded.column_names)
        assert loaded.num_rows > 0


def test_white_space_around_a_revision_is_not_learnt(tmp_path):
    spaced = lambda request: "\n\n a better one \n" if half_of(request) == "revise" else None  # noqa: E731
    run = Revisions(tmp_path, rounds=1, rules=(spaced,))
    run.run(2)
    assert [row["completion"][0]["content"] for row in run.lines("sft.jsonl")] == ["a better one"] * 2
    assert [row["revision_text"] for row in run.rounds_of()] == ["\n\n a better one \n"] * 2


def test_show_and_explain_read_a_run_of_revisions(command, capsys):
    command()

    def said(*arguments):
        with pytest.raises(SystemExit) as ended:
            main.run(arguments)
        return ended.value.code, *capsys.readouterr()

    code, out, err = said("show", "said-revisions", "--pairs", "1")
    assert code == 0, err
    assert "How often the judge prefers the revision" in out
    assert "answer is the revision" in out
    assert "round 1, principle" in out
    pair = read_rows("outputs/runs/said-revisions/labels.parquet")
    pair_id = next(iter(pair))["pair_id"]
    code, out, err = said("explain", "said-revisions", pair_id[:12], "--json")
    assert code == 0, err
    assert json.loads(out)["probability_x"] == pytest.approx(json.loads(out)["recorded"])
    code, _, err = said("diff", "said-revisions", "said-revisions")
    assert code == 2
    assert "a run of `rlaif revise`" in err


@pytest.mark.slow
def test_the_sft_trainer_takes_every_example(command, tmp_path, capsys):
    code, out, err = command("--json")
    assert code == 0, err
    examples, data = json.loads(out)["examples"], str(tmp_path / "outputs/runs/said-revisions/sft")
    with pytest.raises(SystemExit) as ended:
        main.run(["train", "sft", "--model", "tiny-policy", "--data", data, "--output", "tuned", "--json"])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    report = json.loads(out.splitlines()[-1])
    assert (report["rows"], report["steps"]) == (examples, 1)
    assert (tmp_path / "tuned" / "model.safetensors").is_file()


def test_a_constitution_without_requests_is_told(command):
    code, _, err = command("--set", "revision.principles=with_requests")
    assert code == 2
    assert "critique_request" in err


def test_settings_that_conflict_stop_before_a_model_is_loaded(command):
    code, _, err = command("--set", "revision.engine={kind: scripted}")
    assert code == 2
    assert "revision.model" in err


def test_a_template_with_other_variables_is_refused(command):
    code, _, err = command("--set", "revision.revision_template=judge")
    assert code == 2
    assert "critique" in err


def test_a_run_in_which_nothing_was_revised_is_no_success(command, monkeypatch):
    class Silent(ScriptedEngine):
        def __init__(self, model, **options):
            super().__init__(model, rules=(lambda request: "" if half_of(request) else None,), **options)

    monkeypatch.setattr(opening, "ScriptedEngine", Silent)
    code, _, err = command()
    assert code == 5
    assert "4 × round 1: critique abstained" in err
