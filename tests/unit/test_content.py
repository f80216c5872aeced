"""What ships: the constitutions and the prompt sets hold what their READMEs promise."""

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlaif.bundled import project_file
from rlaif.checks import Scored, score
from rlaif.cli.constitution import app
from rlaif.constitution import lint, load_constitution
from rlaif.prompt_sets import PromptSet, read_prompts
from rlaif.records import Prompt
from rlaif.settings import PromptSource

SETS = ("everyday", "unknowable", "harmful", "borderline", "flattery", "multi-turn")
TINY = "tiny-world"  # made by a grammar for the tiny models, so none of the rules about variety is for it
CONSTITUTIONS = sorted(path.stem for path in project_file("constitution").glob("*.yaml"))


def read(*names: str) -> PromptSet:
    return read_prompts(
        [PromptSource(path=str(project_file(f"prompts/sets/{name}.jsonl"))) for name in names], base=Path()
    )


@pytest.mark.parametrize("name", CONSTITUTIONS)
def test_every_shipped_constitution_loads_without_a_warning(name):
    assert lint(load_constitution(name)) == []


def test_the_default_constitution_is_complete():
    default = load_constitution("default")
    assert 12 <= len(default.enabled) <= 16
    assert all(p.critique_request and p.revision_request for p in default.principles)
    assert 1 <= sum(bool(p.examples) for p in default.principles) <= 2
    assert len(default.for_tags([])) >= 12, "a prompt without tags is judged by nearly all of it"


def test_the_tags_of_principles_are_tags_of_prompts():
    tags_of_prompts = {tag for prompt in read(*SETS).prompts for tag in prompt.tags}
    tags_of_principles = {tag for p in load_constitution("default").principles for tag in p.tags}
    assert tags_of_principles <= tags_of_prompts


def test_the_shipped_sets_are_the_ones_their_readme_counts():
    readme = project_file("prompts/README.md").read_text()
    assert {path.stem for path in project_file("prompts/sets").glob("*.jsonl")} == {*SETS, TINY}
    assert f"`{TINY}.jsonl`" in readme
    for name in SETS:
        assert f"| `{name}.jsonl` | {len(read(name).prompts)} |" in readme
    prompts = read(*SETS).prompts
    num_turns = sum(len(prompt.messages) > 1 for prompt in prompts)
    assert f"{len(prompts)} prompts, {num_turns} of them conversations" in readme
    assert len(prompts) >= 320
    assert num_turns >= 40


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_fifty_prompts_tagged_with_its_name_and_none_left_out(name):
    found = read(name)
    assert found.drops == ()
    assert len(found.prompts) >= 50
    assert all(name in prompt.tags and prompt.source == f"rlaif/{name}" for prompt in found.prompts)


def test_names_are_unique_and_no_conversation_ships_twice():
    found = read(*SETS, TINY)
    assert found.drops == ()
    assert max(Counter(prompt.name for prompt in found.prompts).values()) == 1


def test_no_two_prompts_are_nearly_the_same():
    shingles = [(prompt.name, _shingles(prompt)) for prompt in read(*SETS).prompts]
    near = [
        (one, other) for (one, a), (other, b) in itertools.combinations(shingles, 2) if len(a & b) / len(a | b) >= 0.6
    ]
    assert near == []


def test_prompts_begin_in_many_ways():
    openings = Counter(" ".join(prompt.messages[-1].content.split()[:2]) for prompt in read(*SETS).prompts)
    assert max(openings.values()) <= 0.08 * openings.total()
    assert len(openings) >= 0.5 * openings.total()


def test_the_turns_of_a_conversation_alternate():
    for prompt in read("multi-turn").prompts:
        roles = [message.role for message in prompt.messages if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"], prompt.name


def _shingles(prompt: Prompt) -> set[tuple[str, ...]]:
    """Runs of five words of the whole conversation; shorter ones are their own run."""
    words = re.findall(r"\w+", " ".join(message.content for message in prompt.messages).casefold())
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def test_the_examples_of_the_constitution_readme_are_true(tmp_path):
    readme = project_file("constitution/README.md").read_text()
    testing, checking, extending, before, after, _ = re.findall(r"```yaml\n(.*?)```", readme, flags=re.S)
    (tmp_path / "clinic.yaml").write_text(extending)
    clinic = load_constitution(tmp_path / "clinic.yaml")
    assert {p.id for p in clinic.enabled} ^ {p.id for p in load_constitution("default").enabled} == {
        "not-preachy",
        "plain-words",
    }
    (tmp_path / "tested.yaml").write_text(f"name: tested\nprinciples:\n{testing}")
    assert load_constitution(tmp_path / "tested.yaml").principles[0].tests[0].better == "A"
    (tmp_path / "checked.yaml").write_text(f"name: checked\nprinciples:\n{checking}")
    right, polite = load_constitution(tmp_path / "checked.yaml").principles
    assert score(right.check, "So 2 000 is wrong, it is 1,000.9", reference="1000") == Scored(1.0)
    assert score(polite.check, "I'm sorry, but no.") == Scored(0.0)
    default = project_file("constitution/default.yaml").read_text()
    assert before in default
    (tmp_path / "my.yaml").write_text(default.replace(before, after))
    printed = CliRunner().invoke(app, ["diff", "default", str(tmp_path / "my.yaml")]).output
    assert printed.splitlines()[-1] in readme


def test_the_examples_of_the_prompts_readme_are_read(tmp_path):
    lines = re.findall(r"```json\n(.*?)```", project_file("prompts/README.md").read_text(), flags=re.S)[0]
    (tmp_path / "x.jsonl").write_text(lines)
    assert len(read_prompts([PromptSource(path="x.jsonl")], base=tmp_path).prompts) == 2
