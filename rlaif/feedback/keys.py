"""The keys of stored results: everything that can change a result is in its key, and nothing else.

Left out on purpose, with the reason:
- the run, the file and row of a prompt, tags and sources: they choose what is asked, not how it is answered;
- a prompt's reference and a principle's check: no model sees them, and what they decide is computed anew each time;
- a principle's id, weight, tags and whether it is enabled: the judge never sees them;
- the other principles, pairs and requests of the run: one principle per request, always;
- a sample's `max_tokens`: an answer that ended by itself under one limit is the same under a higher one, so the limit
  is compared on lookup (`rlaif/feedback/sample.py`). An answer that was cut does depend on it, and lies under a key of
  its own (`cut_key`);
- the engine, batch size, machine and server: how a model is run is not part of the question. vLLM is not
  batch-invariant, so the store, not the seed, is what makes a re-run identical.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import lru_cache
from hashlib import sha256
from typing import Any

from rlaif.engines.base import ModelIdentity
from rlaif.engines.neutral import NEUTRAL_VERSION, is_suspect
from rlaif.identity import canonical_json, digest
from rlaif.records import Message, Prompt, Response
from rlaif.settings import SamplingSettings
from rlaif.templates import Template

VERDICT_VERSION = 1  # raised when a verdict is read in another way
CRITIQUE_VERSION = 1
REASONING_VERSION = 1
REASONED_VERSION = 1  # raised when a verdict behind reasons is read in another way
SCORE_VERSION = 1


def answering(identity: ModelIdentity) -> dict[str, Any]:
    """A model by what it answers with. Its display name is no part: the same weights renamed are the same model."""
    return {field.name: getattr(identity, field.name) for field in fields(identity) if field.name != "name"}


def sample_key(prompt: Prompt, policy: ModelIdentity, sampling: SamplingSettings, sample_index: int) -> str:
    """The key of the `sample_index`-th answer of a policy to a prompt."""
    drawn = sampling.model_dump(mode="json", exclude={"max_tokens"})
    asked = {"sample": prompt.id, "policy": answering(policy), "sampling": drawn, "index": sample_index}
    return digest(asked | made_neutral(message.content for message in prompt.messages))


def cut_key(key: str, max_tokens: int) -> str:
    """The key of an answer that reached this limit before its end, where `key` is that of the whole answer."""
    return digest({"cut": key, "max_tokens": max_tokens})


class ComparisonKeys:
    """The keys of the verdicts or critiques that one judge gives through one template.

    `what` tells which of them, and how it is drawn. A key is the SHA-256 of the canonical JSON of

        {"compare": what, "first": id, "second": id, "principle": {…}, "template": digest, "judge": {…}}

    written from parts that are made once: a run asks for millions of keys that differ in the ids alone. Where one of
    the texts may not be shown to the judge as it is, there is also `"neutral": version`.
    """

    def __init__(self, what: dict[str, Any], template: Template, judge: ModelIdentity) -> None:
        self._head = f'{{"compare":{canonical_json(what)},"first":"'
        self._judge = f'","judge":{canonical_json(answering(judge))},'
        self._tail = f'","template":"{template.digest}"}}'

    def under(self, principle: dict[str, Any]) -> Callable[[Response, Response, Sequence[Message]], str]:
        """Keys of two responses in the order shown, under a principle as the judge reads it.

        A response's id covers its text and its conversation, which is handed in to see whether it is shown as it is.
        """
        before, judge, tail = self._head, self._judge, self._tail
        middle = f'"principle":{canonical_json(principle)},"second":"'
        is_neutral = bool(made_neutral(_texts(principle)))
        neutral = f'"neutral":{NEUTRAL_VERSION},'

        def key(first: Response, second: Response, conversation: Sequence[Message]) -> str:
            said = (first.text, second.text, *(message.content for message in conversation))
            mark = neutral if is_neutral or made_neutral(said) else ""
            text = f"{before}{first.id}{judge}{mark}{middle}{second.id}{tail}"
            return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

        return key


class ScoreKeys:
    """The keys of the scores that one judge gives through one template: one answer, one principle, one scale."""

    def __init__(self, template: Template, judge: ModelIdentity, choices: Sequence[str]) -> None:
        self._asked = {
            "score": SCORE_VERSION,
            "template": template.digest,
            "judge": answering(judge),
            "choices": list(choices),
        }

    def under(self, principle: dict[str, Any]) -> Callable[[Response, Sequence[Message]], str]:
        """Keys of a response, under a principle as the judge reads it."""

        def key(response: Response, conversation: Sequence[Message]) -> str:
            said = (*_texts(principle), response.text, *(message.content for message in conversation))
            return digest(self._asked | {"principle": principle, "response": response.id} | made_neutral(said))

        return key


def made_neutral(texts: Iterable[str]) -> dict[str, int]:
    """What a key says of texts that a model may not see as they are: the version of how they are made neutral."""
    return {"neutral": NEUTRAL_VERSION} if any(map(_is_suspect, texts)) else {}


_is_suspect = lru_cache(maxsize=4096)(is_suspect)  # an answer is in many comparisons, one after the other


def _texts(value: Any) -> Iterator[str]:
    """All texts of a principle's content."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for part in value.values() for text in _texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for part in value for text in _texts(part))
