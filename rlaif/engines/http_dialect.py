"""What is sent to a server for a request, and what its reply means: pure functions, no network.

Two dialects. vLLM's is asked for the log-probabilities of exactly the token ids that spell the choices. Any other
OpenAI-compatible server names only its most likely tokens, at most 20, as text: a choice it does not name has no
probability, and all that it did not name is uncovered mass.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlaif.engines.base import Answer, Completion, Failure, FinishReason, Request
from rlaif.engines.chat_format import UNKNOWN, ChatFormat
from rlaif.engines.choices import ChoiceTree, Tokens, logsumexp
from rlaif.engines.thinking import Split

TOP_LOGPROBS = 20  # the most the OpenAI protocol allows
_TOKEN_ID = re.compile(r"token_id:(\d+)")
_TOO_LONG = re.compile(r"maximum context length|context_length_exceeded|maximum model length|max_model_len", re.I)
_PROMPT_TOKENS = re.compile(r"(\d+) (?:input tokens|in the messages)|prompt contains (?:at least )?(\d+)", re.I)


@dataclass(frozen=True, slots=True)
class BadReply(Exception):
    """A reply that is no answer: not JSON, or JSON without what was asked for. Worth another try elsewhere."""

    reason: str


def chat_body(
    request: Request,
    model: str,
    *,
    is_vllm: bool,
    tree: ChoiceTree | None,
    chat: ChatFormat = UNKNOWN,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of `/chat/completions`. Everything that changes an answer is said, so no server's default counts."""
    body: dict[str, Any] = {"model": model, **chat_part(request, chat, chat_template_kwargs)}
    if request.choices:
        body |= {"max_tokens": 1, "temperature": 0.0, "logprobs": True}
        if tree is None:
            return body | {"top_logprobs": TOP_LOGPROBS}
        return body | {"logprob_token_ids": list(tree.children[()]), "return_tokens_as_token_ids": True}
    sampling = request.sampling
    body |= {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature, "top_p": sampling.top_p}
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if is_vllm:
        body |= {"top_k": sampling.top_k, "min_p": 0.0, "repetition_penalty": 1.0}
        if chat.thinking is not None and chat.thinking.are_special:
            body["skip_special_tokens"] = False  # else the markers between thinking and answer are left out
    if request.json_schema is not None:
        schema = {"name": "answer", "schema": request.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def chat_part(request: Request, chat: ChatFormat, chat_template_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The chat as the server's template gets it: neutral, begun where the request begins the assistant's turn."""
    part: dict[str, Any] = {"messages": chat.messages(request)}
    if request.prefill:
        part |= {"continue_final_message": True, "add_generation_prompt": False}
    return part | ({"chat_template_kwargs": dict(chat_template_kwargs)} if chat_template_kwargs else {})


def read_chat(request: Request, reply: Any, tree: ChoiceTree | None, chat: ChatFormat = UNKNOWN) -> Answer:
    """The answer in a reply of `/chat/completions`; raises BadReply."""
    try:
        choice, usage = reply["choices"][0], reply.get("usage") or {}
        prompt_tokens, output_tokens = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        if request.choices:
            return _read_choices(request, choice, tree, prompt_tokens, output_tokens, cached)
        message, ended = choice["message"], choice["finish_reason"]
        thinking = message.get("reasoning") or message.get("reasoning_content")
        split = _split(request, message["content"] or "", thinking, chat)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise BadReply(f"a reply without an answer in it ({type(error).__name__}: {error})") from error
    reason: FinishReason | None = {"stop": "stop", "length": "length"}.get(ended)  # type: ignore[assignment]  # a literal by the keys
    if reason is None:
        kind = f"the server ended the answer with {ended!r}"
        return Failure(request_id=request.id, kind="refused", reason=kind, prompt_tokens=prompt_tokens)
    return Completion(
        request_id=request.id,
        text=split.text,
        finish_reason=reason,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached,
        thinking=split.thinking,
        is_thinking_open=split.is_open,
    )


def _split(request: Request, text: str, thinking: str | None, chat: ChatFormat) -> Split:
    """The answer without its thinking: as the server has parted them, else by the model's markers."""
    if thinking:
        return Split(text.strip(), thinking.strip(), is_open=not text.strip())
    return chat.split(request, text)


def _read_choices(
    request: Request,
    choice: Mapping[str, Any],
    tree: ChoiceTree | None,
    prompt_tokens: int,
    output_tokens: int,
    cached: int | None,
) -> Answer:
    if not choice.get("logprobs") or not choice["logprobs"].get("content"):
        reason = "the server gives no log-probabilities, which a verdict is read from; judge with engine kind vllm"
        return Failure(request_id=request.id, kind="refused", reason=reason, prompt_tokens=prompt_tokens)
    named = [(str(one["token"]), float(one["logprob"])) for one in choice["logprobs"]["content"][0]["top_logprobs"]]
    if tree is None:
        unclear = _unclear(request.choices, {token.strip() for token, _ in named})
        if unclear is not None:
            reason = f"the server names single tokens, and {unclear}; judge with engine kind vllm"
            return Failure(request_id=request.id, kind="refused", reason=reason, prompt_tokens=prompt_tokens)
        logprobs, uncovered = choices_by_text(request.choices, named)
    else:
        table = {int(found[1]): value for token, value in named if (found := _TOKEN_ID.fullmatch(token))}
        logprobs, uncovered = tree.logprobs({(): table})
    return Completion(
        request_id=request.id,
        text="",
        finish_reason="stop",
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached,
        choice_logprobs=logprobs,
        uncovered=uncovered,
        choice_method="top_logprobs" if tree is None else tree.method,
    )


def choices_by_text(choices: tuple[str, ...], named: list[tuple[str, float]]) -> tuple[tuple[float, ...], float]:
    """Log-probability of each choice among the tokens a server named, and the mass of everything else."""
    logprobs = tuple(logsumexp([value for token, value in named if token.strip() == choice]) for choice in choices)
    return logprobs, max(0.0, 1.0 - math.fsum(math.exp(value) for value in logprobs))


def _unclear(choices: tuple[str, ...], named: set[str]) -> str | None:
    """Why tokens cannot tell these choices apart: "1" may have been the beginning of a "10" that is no token."""
    for long in choices:
        short = next((one for one in choices if one != long and long.startswith(one) and one in named), None)
        if short is not None and long not in named:
            return f"{short!r} may be the beginning of {long!r}"
    return None


def continuation_body(model: str, prompt: list[int], spelled: Tokens) -> dict[str, Any]:
    """The body of vLLM's `/completions` that scores one spelling after the prompt, given as token ids."""
    return {"model": model, "prompt": [*prompt, *spelled], "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}


def read_continuation(reply: Any, spelled: Tokens) -> list[float]:
    """Log-probability of each token of the spelling; raises BadReply."""
    try:
        tail = reply["choices"][0]["prompt_logprobs"][-len(spelled) :]
        return [float(place[str(token)]["logprob"]) for place, token in zip(tail, spelled, strict=True)]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadReply(f"a reply without log-probabilities ({type(error).__name__}: {error})") from error


def refusal(request: Request, status: int, words: str) -> Failure:
    """What a 4xx reply means for one request: too long, or not taken."""
    kind = "too_long" if _TOO_LONG.search(words) else "refused"
    numbers = _PROMPT_TOKENS.search(words)
    prompt_tokens = int(next(group for group in numbers.groups() if group)) if numbers else 0
    reason = f"status {status}: {' '.join(words.split())[:400]}"
    return Failure(request_id=request.id, kind=kind, reason=reason, prompt_tokens=prompt_tokens)  # type: ignore[arg-type]  # one of two literals


def error_words(text: str, reply: Any) -> str:
    """What a server said about an error, in either of the two shapes servers use."""
    if isinstance(reply, dict):
        error = reply.get("error", reply)
        if isinstance(error, dict) and error.get("message"):
            return str(error["message"])
        if isinstance(error, str):
            return error
    return text
