"""What the documents tell a person to type exists: commands, options, targets, files, links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from rlaif.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "constitution").glob("*.md")])
OURS = ("constitution/", "prompts/", "docs/", "requirements/", "benchmarks/", "tests/", "tools/", "rlaif/")
BLOCK = re.compile(r"^ *```(?:console|bash|sh)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def typed_lines(text: str) -> Iterator[list[str]]:
    """The words of every `rlaif` or `make` line in a document's shell blocks, without prompts, comments, pipes."""
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\||;", line.strip().removeprefix("$ ")):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words and words[0] in ("rlaif", "make"):
                    yield words


def fault_of_make(words: list[str]) -> str:
    wrong = [word for word in words if "=" not in word and word not in TARGETS]
    return f"no such target: {wrong}" if wrong else ""


def fault_of_rlaif(words: list[str]) -> str:
    """What is wrong with a command line of ours, by the commands' own declarations; nothing is run."""
    command = get_command(main.app)
    words = words[: words.index("--")] if "--" in words else words  # what follows is handed on to vLLM
    while words and getattr(command, "commands", None):
        default = getattr(command, "default_command", "")
        if default and words[0] not in command.commands:
            command = command.commands[default]
            break
        word, *words = words
        if word.startswith("-"):
            known = [name for option in command.params for name in option.opts] + ["--help"]
            return "" if word in known else f"no such option: {word}"
        if word not in command.commands:
            return f"no such command: {word}"
        is_top = set(main.COMMANDS) >= set(command.commands)
        command = main.load_command(word) if is_top else command.commands[word]
    known = {"--help"} | {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    wrong = [word for word in words if word.startswith("-") and word.split("=")[0] not in known]
    return f"no such option: {wrong}" if wrong else ""


def missing_files(words: list[str]) -> list[str]:
    named = [word for word in words if word.startswith(OURS) or word == "quickstart.yaml"]
    return [word for word in named if not (ROOT / word).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_says_to_type_exists(document):
    for program, *words in typed_lines(document.read_text()):
        fault = fault_of_make(words) if program == "make" else fault_of_rlaif(words)
        assert not fault, f"{document.name}: {program} {' '.join(words)}: {fault}"
        assert missing_files(words) == [], f"{document.name}: {program} {' '.join(words)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text())
    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert broken == []


def test_a_wrong_line_would_be_found():
    text = "```console\n$ A=x rlaif doctr\nrlaif doctor --depe  # a comment\nmake quickstrat && rlaif --version\n```\n"
    lines = list(typed_lines(text))
    assert lines == [["rlaif", "doctr"], ["rlaif", "doctor", "--depe"], ["make", "quickstrat"], ["rlaif", "--version"]]
    assert "doctr" in fault_of_rlaif(lines[0][1:])
    assert "--depe" in fault_of_rlaif(lines[1][1:])
    assert "quickstrat" in fault_of_make(lines[2][1:])
    assert fault_of_rlaif(lines[3][1:]) == ""
    assert fault_of_rlaif(["constitution", "chekc"]) != ""
    assert fault_of_rlaif(["doctor", "--", "--of-another-program"]) == ""
    assert missing_files(["constitution/none.yaml", "my/own.yaml"]) == ["constitution/none.yaml"]
