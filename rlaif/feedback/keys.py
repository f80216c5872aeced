"""The keys of stored results: everything that can change a result is in its key, and nothing else.

Left out on purpose, with the reason:
- the run, the file and row of a prompt, tags and sources: they choose what is asked, not how it is answered;
- a principle's id, weight, tags and whether it is enabled: the judge never sees them;
- the other principles, pairs and requests of the run: one principle per request, always;
- a sample's `max_tokens`: an answer that ended by itself under one limit is the same under a higher one, so the limit
  is compared on lookup (`rlaif/feedback/sample.py`). An answer that was cut does depend on it, and lies under a key of
  its own (`cut_key`);
- the engine, batch size, machine and server: how a model is run is not part of the question. vLLM is not
  batch-invariant, so the store, not the seed, is what makes a re-run identical.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from rlaif.engines.base import ModelIdentity
from rlaif.engines.neutral import NEUTRAL_VERSION, is_suspect
from rlaif.identity import digest
from rlaif.records import Message, Prompt, Response
from rlaif.settings import SamplingSettings
from rlaif.templates import Template

VERDICT_VERSION = 1  # raised when a verdict is read in another way
CRITIQUE_VERSION = 1


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


def comparison_key(
    what: dict[str, Any],
    first: Response,
    second: Response,
    principle: dict[str, Any],
    template: Template,
    judge: ModelIdentity,
    conversation: Sequence[Message] = (),
) -> str:
    """The key of a verdict or a critique (`what` tells which, and how it is drawn) on two responses in this order.

    A response's id covers its text and its conversation, which is handed in to see whether it is shown as it is.
    """
    texts = (first.text, second.text, *_texts(principle), *(message.content for message in conversation))
    return digest(
        {
            "compare": what,
            "first": first.id,
            "second": second.id,
            "principle": principle,
            "template": template.digest,
            "judge": answering(judge),
            **made_neutral(texts),
        }
    )


def made_neutral(texts: Iterable[str]) -> dict[str, int]:
    """What a key says of texts that a model may not see as they are: the version of how they are made neutral."""
    return {"neutral": NEUTRAL_VERSION} if any(map(is_suspect, texts)) else {}


def _texts(value: Any) -> Iterator[str]:
    """All texts of a principle's content."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for part in value.values() for text in _texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for part in value for text in _texts(part))
