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

from collections.abc import Callable
from dataclasses import fields
from hashlib import sha256
from typing import Any

from rlaif.engines.base import ModelIdentity
from rlaif.identity import canonical_json, digest
from rlaif.records import Prompt, Response
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
    return digest({"sample": prompt.id, "policy": answering(policy), "sampling": drawn, "index": sample_index})


def cut_key(key: str, max_tokens: int) -> str:
    """The key of an answer that reached this limit before its end, where `key` is that of the whole answer."""
    return digest({"cut": key, "max_tokens": max_tokens})


class ComparisonKeys:
    """The keys of the verdicts or critiques that one judge gives through one template.

    `what` tells which of them, and how it is drawn. A key is the SHA-256 of the canonical JSON of

        {"compare": what, "first": id, "second": id, "principle": {…}, "template": digest, "judge": {…}}

    written from parts that are made once: a run asks for millions of keys that differ in the ids alone.
    """

    def __init__(self, what: dict[str, Any], template: Template, judge: ModelIdentity) -> None:
        self._head = f'{{"compare":{canonical_json(what)},"first":"'
        self._judge = f'","judge":{canonical_json(answering(judge))},"principle":'
        self._tail = f'","template":"{template.digest}"}}'

    def under(self, principle: dict[str, Any]) -> Callable[[Response, Response], str]:
        """Keys of two responses in the order shown, under a principle as the judge reads it.

        A response's id covers its text and its conversation.
        """
        head, tail = self._head, self._tail
        middle = f'{self._judge}{canonical_json(principle)},"second":"'

        def key(first: Response, second: Response) -> str:
            text = f"{head}{first.id}{middle}{second.id}{tail}"
            return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

        return key
