"""A round: a critique of an answer under the principle drawn for it, then the answer written anew.

What comes back is a text or it is not: a critique that failed, is empty or was cut ends the round, and so does such a
revision; the answer then stays as it was, and the next round goes on from it. A revision equal to its answer changes
nothing either, and is counted as that.

A key holds what the model reads and how it draws: conversation, answer, principle text with its examples, request,
template, model, temperature; of a revision the critique's text as well. Left out: the round, the principle's id, how
the answer and the critique came about, and the limit on tokens, which is compared on lookup as it is for answers
(`rlaif/feedback/keys.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rlaif.engines.base import ModelIdentity, Request, Sampling
from rlaif.feedback.ask import Asking, Requests, Value
from rlaif.feedback.keys import answering, cut_key, made_neutral
from rlaif.feedback.revision.draw import Asked, content
from rlaif.feedback.sample import Sample, still_answers, written_value
from rlaif.identity import digest, seed_from
from rlaif.records import Message, Outcome, Prompt, Response
from rlaif.store import Kind
from rlaif.templates import Template, render_conversation

ANSWER_CRITIQUE_VERSION = 1  # raised when it is asked in another way than by its template
REVISION_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A critique or a revision and how it ended; `text` is empty unless `outcome` is "ok"."""

    key: str
    outcome: Outcome
    reason: str
    text: str
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One round of an answer. `before` is the answer that was criticised, `after` the one the next round begins with.

    `principle` is None where none applies to the prompt: nothing is asked then. `revision` is None until the critique
    has come.
    """

    number: int
    asked: Asked | None
    before: Response
    critique: Written | None = None
    revision: Written | None = None
    after: Response

    @property
    def is_changed(self) -> bool:
        return self.after.id != self.before.id

    @property
    def ending(self) -> str:
        """How the round ended, in words."""
        if self.asked is None:
            return "no principle to draw"
        for name, written in (("critique", self.critique), ("revision", self.revision)):
            if written is None or written.outcome != "ok":
                return f"{name} {written.outcome if written else 'not asked'}"
        return "revised" if self.is_changed else "revision equal to the answer before"


@dataclass(frozen=True, slots=True)
class Chain:
    """A policy's first answer to a prompt and the rounds it went through."""

    sample: Sample
    turns: tuple[Turn, ...] = ()

    @property
    def prompt(self) -> Prompt:
        return self.sample.prompt

    @property
    def answer(self) -> Response | None:
        """The answer as it is now; None where the policy gave none."""
        return self.turns[-1].after if self.turns else self.sample.response


@dataclass(frozen=True, slots=True)
class Place:
    """What one request is about. `critique` is there for a revision."""

    prompt: Prompt
    response: Response
    asked: Asked
    critique: str | None = None


@dataclass(frozen=True, slots=True)
class WritingStage:
    """The requests of one half of a round, for one policy's answers. `keys` stand beside the chains; None where
    nothing is asked."""

    asking: Asking
    places: Mapping[str, Place]
    keys: tuple[str | None, ...]

    def written(self, values: Mapping[str, Value]) -> list[Written | None]:
        """What came back, beside the chains."""
        return [None if key is None or key not in values else _written(key, values[key]) for key in self.keys]


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """How one half of a round is asked: by whom, through which template, under which limit."""

    kind: Kind
    what: Literal["critique", "revision"]
    model: str
    identity: ModelIdentity
    template: Template
    temperature: float
    max_tokens: int

    def stage(self, name: str, wanted: Sequence[Place | None]) -> WritingStage:
        keys = tuple(None if place is None else self.key(place) for place in wanted)
        places = {key: place for key, place in zip(keys, wanted, strict=True) if key and place}
        asking = Asking(
            name=name,
            kind=self.kind,
            requests=Requests(places, self._request),
            read=lambda answer: written_value(answer, self.max_tokens),
            outcome=lambda value: value["outcome"],
            is_valid=lambda value: still_answers(value, self.max_tokens),
            places=lambda key: (key, cut_key(key, self.max_tokens)),
            place=lambda key, value: cut_key(key, value["max_tokens"]) if value["finish_reason"] == "length" else key,
        )
        return WritingStage(asking, places, keys)

    def key(self, place: Place) -> str:
        shown = content(place.asked, self._request_text(place))
        version = ANSWER_CRITIQUE_VERSION if self.what == "critique" else REVISION_VERSION
        what: dict[str, Any] = {
            f"{self.what}_of_answer": version,
            "prompt": place.prompt.id,
            "response": place.response.id,
            "principle": shown,
            "template": self.template.digest,
            "model": answering(self.identity),
            "temperature": self.temperature,
        }
        texts = [place.response.text, *shown.values(), *(message.content for message in place.prompt.messages)]
        if place.critique is not None:
            what["critique"] = place.critique
            texts.append(place.critique)
        return digest(what | made_neutral(texts))

    def _request_text(self, place: Place) -> str:
        return place.asked.critique_request if self.what == "critique" else place.asked.revision_request

    def _request(self, key: str, place: Place) -> Request:
        shown = {
            "conversation": render_conversation(place.prompt.messages),
            "response": place.response.text,
            "principle": place.asked.text,
            "request": self._request_text(place),
        }
        if place.critique is not None:
            shown["critique"] = place.critique
        sampling = Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=seed_from(key) if self.temperature > 0 else None,
        )
        return Request(id=key, messages=(Message("user", self.template.render(**shown)),), sampling=sampling)


def begin_round(chain: Chain, number: int, draw: Callable[[Prompt, int], Asked | None]) -> Turn | None:
    """The chain's next round with its principle drawn; None where there is no answer to work on."""
    before = chain.answer
    if before is None:
        return None
    return Turn(number=number, asked=draw(chain.prompt, number), before=before, after=before)


def to_criticise(prompt: Prompt, turn: Turn | None) -> Place | None:
    return Place(prompt, turn.before, turn.asked) if turn and turn.asked else None


def to_revise(prompt: Prompt, turn: Turn | None) -> Place | None:
    if turn is None or turn.asked is None or turn.critique is None or turn.critique.outcome != "ok":
        return None
    return Place(prompt, turn.before, turn.asked, turn.critique.text)


def revised(turn: Turn, revision: Written | None, writer: str) -> Turn:
    """The round with its revision, without white space at its ends: it is to be learnt from. One that is equal but for
    such changes nothing."""
    turn = replace(turn, revision=revision)
    if revision is None or revision.outcome != "ok" or revision.text.strip() == turn.before.text.strip():
        return turn
    after = Response(
        prompt_id=turn.before.prompt_id,
        text=revision.text.strip(),
        policy=writer,
        sample_index=turn.before.sample_index,
        finish_reason="stop",
        prompt_tokens=revision.prompt_tokens,
        output_tokens=revision.output_tokens,
    )
    return replace(turn, after=after)


def _written(key: str, value: Value) -> Written:
    outcome = value["outcome"]
    return Written(
        key=key,
        outcome=outcome,
        reason=value["reason"],
        text=value["text"] if outcome == "ok" else "",
        prompt_tokens=value.get("prompt_tokens", 0),
        output_tokens=value.get("output_tokens", 0),
    )
