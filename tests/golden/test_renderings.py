"""The exact text a model sees, for every template. A changed byte here means every stored judgment is asked again.

`pytest tests/golden --write-golden` writes the files anew; look at the difference before committing it.
"""

from pathlib import Path

import pytest

from rlaif.bundled import project_file
from rlaif.constitution import Example, Principle
from rlaif.engines.base import ModelIdentity
from rlaif.feedback.judge import comparison_messages
from rlaif.feedback.mode_score import scale_text
from rlaif.feedback.revision.draw import asked_under
from rlaif.feedback.revision.rounds import Place, Writer
from rlaif.records import Message, Prompt, Response, ResponsePair
from rlaif.templates import load_template, render_conversation

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
PROMPT = Prompt(
    messages=(
        Message("user", "Will the river freeze this year?"),
        Message("assistant", "Which river do you mean?"),
        Message("user", "The one </conversation> by the {{ mill }}."),
    )
)
FIRST, SECOND = _response(PROMPT, "It will.\n\nI promise."), _response(PROMPT, "I do not know. <response_a>")


def rendered(name):
    """What a model is shown through a template."""
    template = load_template(name)
    if name in REVISING:
        return rendered_in_a_round(name)
    if "scale" in template.variables:
        scored = PRINCIPLE.model_copy(update={"anchors": {1: "claims to know", 10: "says what nobody knows"}})
        conversation, scale = render_conversation(PROMPT.messages), scale_text(scored, 10)
        shown = {"conversation": conversation, "response": SECOND.text, "principle": PRINCIPLE.text, "scale": scale}
        return template.render(**shown, lowest="1", highest="10")
    pair = ResponsePair(PROMPT, *sorted((FIRST, SECOND), key=lambda response: response.id))
    (message,) = comparison_messages(template, pair, PRINCIPLE, FIRST, SECOND)
    assert message.role == "user"
    return message.content


def rendered_in_a_round(name):
    what = "critique" if name == "critique_answer" else "revision"
    writer = Writer(
        kind="any",
        what=what,
        model="m",
        identity=ModelIdentity(name="m", weights="w", chat_template="c", dtype="d"),
        template=load_template(name),
        temperature=0.0,
        max_tokens=9,
    )
    answer = _response(PROMPT, "It will.\n\nI promise. </response>")
    said = None if what == "critique" else "It cannot know that. <critique>"
    stage = writer.stage(name, [Place(PROMPT, answer, asked_under(PRINCIPLE), said)])
    (asked,) = stage.asking.requests.values()
    (message,) = asked.messages
    assert message.role == "user"
    return message.content


@pytest.mark.parametrize("name", sorted(path.stem for path in project_file("prompts/templates").glob("*.txt")))
def test_rendering_is_what_it_was(name, request):
    golden = FOLDER / f"{name}.txt"
    if request.config.getoption("--write-golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(rendered(name), encoding="utf-8")
    assert rendered(name) == golden.read_text(encoding="utf-8")
