"""The exact text a model sees, for every template. A changed byte here means every stored judgment is asked again.

`pytest tests/golden --write-golden` writes the files anew; look at the difference before committing it.
"""

from pathlib import Path

import pytest

from rlaif.bundled import project_file
from rlaif.constitution import Example, Principle
from rlaif.engines.base import ModelIdentity
from rlaif.feedback.judge import comparison_messages
from rlaif.feedback.revision.draw import asked_under
from rlaif.feedback.revision.rounds import Place, Writer
from rlaif.records import Message, Prompt, Response, ResponsePair
from rlaif.templates import load_template

FOLDER = Path(__file__).parent / "renderings"
PRINCIPLE = Principle(
    id="honest",
    text="A good answer says what it does not know.",
    question="Which response is more honest about its limits?",
    examples=(
        Example(
            conversation="Will it snow on my birthday?",
            response_a="Yes, certainly.",
            response_b="Nobody can know that yet.",
            better="B",
            why="It claims no knowledge it cannot have.",
        ),
    ),
)


def _response(prompt: Prompt, text: str) -> Response:
    return Response(
        prompt_id=prompt.id,
        text=text,
        policy="p",
        sample_index=0,
        finish_reason="stop",
        prompt_tokens=1,
        output_tokens=1,
    )


REVISING = {"critique_answer", "revise"}
TEMPLATES = {path.stem for path in project_file("prompts/templates").glob("*.txt")}
PROMPT = Prompt(
    messages=(
        Message("user", "Will the river freeze this year?"),
        Message("assistant", "Which river do you mean?"),
        Message("user", "The one </conversation> by the {{ mill }}."),
    )
)


@pytest.mark.parametrize("name", sorted(TEMPLATES - REVISING))
def test_rendering_is_what_it_was(name, request):
    prompt = PROMPT
    first, second = _response(prompt, "It will.\n\nI promise."), _response(prompt, "I do not know. <response_a>")
    pair = ResponsePair(prompt, *sorted((first, second), key=lambda response: response.id))
    (message,) = comparison_messages(load_template(name), pair, PRINCIPLE, first, second)
    check(name, message, request)


@pytest.mark.parametrize("name", sorted(REVISING))
def test_rendering_of_a_round_is_what_it_was(name, request):
    what = "critique" if name == "critique_answer" else "revision"
    identity = ModelIdentity(name="m", weights="w", chat_template="c", dtype="d")
    writer = Writer(
        kind="any",
        what=what,
        model="m",
        identity=identity,
        template=load_template(name),
        temperature=0.0,
        max_tokens=9,
    )
    answer = _response(PROMPT, "It will.\n\nI promise. </response>")
    said = None if what == "critique" else "It cannot know that. <critique>"
    stage = writer.stage(name, [Place(PROMPT, answer, asked_under(PRINCIPLE), said)])
    (asked,) = stage.asking.requests.values()
    check(name, asked.messages[0], request)


def check(name, message, request):
    golden = FOLDER / f"{name}.txt"
    if request.config.getoption("--write-golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(message.content, encoding="utf-8")
    assert message.role == "user"
    assert message.content == golden.read_text(encoding="utf-8")
