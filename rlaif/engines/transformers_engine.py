"""transformers as an engine: where vLLM is not installed, and the independent witness of its verdicts in the tests.

Rows are padded on the left, with positions that count real tokens only, so a row's answer does not depend on the rows
beside it (beyond rounding). Choices are read exactly as from vLLM: log-softmax in float32 over the whole vocabulary at
the last position. Slower than vLLM, as no prefix is reused; `benchmarks/` has figures.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import torch

from rlaif.engines.base import Answer, Closing, Completion, EngineCounters, Failure, ModelIdentity, Request
from rlaif.engines.choices import Tokens
from rlaif.engines.model_files import ModelFiles, find_model
from rlaif.engines.prepare import Prepared, Preparer
from rlaif.engines.transformers_decode import Decoder, left_pad
from rlaif.errors import EngineCrashed, EngineUnavailable
from rlaif.settings import EngineSettings

_Row = TypeVar("_Row")
_BATCHES_AHEAD = 8  # requests read ahead to be sorted by length, so that little is padding


@dataclass(frozen=True, slots=True)
class Question:
    """One row of a forward pass: the prompt, the tokens of an inner node of the choices' tree, and what may follow."""

    prepared: Prepared
    node: Tokens

    @property
    def tokens(self) -> Tokens:
        return self.prepared.tokens + self.node


class TransformersEngine(Closing):
    """Holds the model in this process, on the GPU where there is one."""

    def __init__(self, settings: EngineSettings, model: str) -> None:
        files = find_model(model, settings)
        self.identity: ModelIdentity = files.identity
        self.max_model_len = files.max_model_len
        self._batch_size = settings.batch_size
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model, tokenizer = _load(files, self._device)
        self._preparer = Preparer(tokenizer, self.max_model_len, settings.chat_template_kwargs)
        self._decoder = Decoder(self._model, tokenizer, self._device, self.max_model_len)
        self._counted = EngineCounters(computed_tokens=0)

    def complete(self, requests: Iterable[Request]) -> Iterator[Answer]:
        source = iter(requests)
        while ahead := list(islice(source, self._batch_size * _BATCHES_AHEAD)):
            try:
                for answer in self._answer(ahead):
                    self._count(answer)
                    yield answer
            except torch.OutOfMemoryError as error:
                raise EngineCrashed(
                    f"{self.identity.name}: out of memory in a batch of {self._batch_size}: {error}",
                    do="Lower engine.batch_size, or take a smaller model.",
                ) from error

    def counters(self) -> EngineCounters:
        return self._counted

    def close(self) -> None:
        """Give the model's memory back."""
        self._model = self._decoder = None  # type: ignore[assignment]  # closed: nothing may use them again
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _answer(self, requests: Sequence[Request]) -> Iterator[Answer]:
        prepared = []
        for request in requests:
            one = self._refuse(request) or self._preparer.prepare(request)
            if isinstance(one, Failure):
                yield one
            else:
                prepared.append(one)
        yield from self._score([one for one in prepared if one.tree is not None])
        texts = sorted((one for one in prepared if one.tree is None), key=lambda one: len(one.tokens))
        for batch in _batches(texts, self._batch_size):
            yield from self._decoder.decode(batch)

    def _refuse(self, request: Request) -> Failure | None:
        if request.json_schema is None:
            return None
        reason = "the transformers engine cannot hold a model to a JSON schema; use engine kind vllm or http"
        return Failure(request_id=request.id, kind="refused", reason=reason)

    def _score(self, prepared: Sequence[Prepared]) -> Iterator[Completion]:
        """Answer requests with choices, each as soon as all nodes of its tree are known."""
        rows = [Question(one, node) for one in prepared if one.tree for node in one.tree.children]
        tables: dict[str, dict[Tokens, dict[int, float]]] = {one.request.id: {} for one in prepared}
        for batch in _batches(sorted(rows, key=lambda row: len(row.tokens)), self._batch_size):
            logprobs = self._last_logprobs([row.tokens for row in batch])
            for row, of_row in zip(batch, logprobs, strict=True):
                tree = row.prepared.tree
                assert tree is not None
                known = tables[row.prepared.request.id]
                known[row.node] = {token: float(of_row[token]) for token in tree.children[row.node]}
                if len(known) == len(tree.children):
                    yield _choice_answer(row.prepared, known)

    @torch.inference_mode()
    def _last_logprobs(self, rows: Sequence[Tokens]) -> torch.Tensor:
        """Log-probabilities of the whole vocabulary after each row: (row, vocabulary), float32, on the CPU."""
        inputs = left_pad(rows, self._device)
        logits = self._model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1]
        return torch.log_softmax(logits.float(), dim=-1).cpu()

    def _count(self, answer: Answer) -> None:
        before, output = self._counted, getattr(answer, "output_tokens", 0)
        read = answer.prompt_tokens if isinstance(answer, Completion) else 0
        computed = read * (output if isinstance(answer, Completion) and answer.choice_logprobs else 1)
        self._counted = replace(
            before,
            requests=before.requests + 1,
            prompt_tokens=before.prompt_tokens + read,
            computed_tokens=(before.computed_tokens or 0) + computed,
            output_tokens=before.output_tokens + output,
        )


def _choice_answer(prepared: Prepared, tables: dict[Tokens, dict[int, float]]) -> Completion:
    tree = prepared.tree
    assert tree is not None
    logprobs, uncovered = tree.logprobs(tables)
    return Completion(
        request_id=prepared.request.id,
        text="",
        finish_reason="stop",
        prompt_tokens=len(prepared.tokens),
        output_tokens=len(tree.children),
        choice_logprobs=logprobs,
        uncovered=uncovered,
        choice_method=tree.method,
    )


def _batches(rows: Sequence[_Row], size: int) -> Iterator[Sequence[_Row]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _widen_head(model: Any) -> None:
    """Compute logits in float32, as the vLLM engine does: 16-bit ones move a verdict near 0.5 by a hundredth."""
    head = model.get_output_embeddings()
    if head.weight.dtype == torch.float32:
        return
    wide = torch.nn.Linear(head.in_features, head.out_features, bias=head.bias is not None, dtype=torch.float32)
    wide.load_state_dict({name: value.float() for name, value in head.state_dict().items()})
    wide.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    model.set_output_embeddings(wide)


def _load(files: ModelFiles, device: torch.device) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has no annotation here
    wanted = {"revision": files.commit, "trust_remote_code": files.settings.trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(files.source, **wanted)
        model: Any = AutoModelForCausalLM.from_pretrained(
            files.source, dtype=getattr(torch, files.dtype), use_safetensors=True, **wanted
        )
        _widen_head(model)
        return model.to(device=device).eval(), tokenizer
    except (OSError, ValueError, torch.OutOfMemoryError) as error:
        raise EngineUnavailable(
            f"transformers could not load {files.name!r}: {str(error).strip().splitlines()[0]}",
            do="Check the folder or name; a model too large for this machine needs another, or engine kind vllm.",
        ) from error
