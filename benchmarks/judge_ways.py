"""Ways of asking one `vllm.LLM` for verdicts: bare vLLM, and the classes of distilabel and alpaca_eval.

The peers' own packages make the prompts, the batches and the order of calls, and read the answers. Two seams are ours:

- distilabel: its vLLM class hands over an argument this vLLM no longer takes, so `LoadedLLM` makes the same call
  without it: the same chat template, batches of 50 rows, temperature 1, at most 128 new tokens, and its token counts.
- alpaca_eval: its way to log-probabilities is a server over HTTP, and its own client. It is measured as it is, against
  vLLM's server with the same model; and, marked with *, with a decoder that asks the engine in this process, which is
  faster than anything it has. Its local vLLM decoder, for text, is used as it is, engine given.

A model of a few million parameters writes no verdict that these parsers know, so what is timed is the asking and the
reading; `read` says how many answers were understood.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]
SERVED = "alpaca_eval, same information"


@dataclass(frozen=True)
class Asked:
    """`verdicts`: answers about one principle (or overall) in one order; `read`: those the parser understood."""

    verdicts: int
    read: int


@dataclass(frozen=True)
class Way:
    """`prepare` is not timed, `ask` is."""

    name: str
    about: str
    ask: Callable[[Any], Asked]
    prepare: Callable[[Rows], Any] = lambda rows: rows
    is_served: bool = False  # by vLLM's server, not by the engine in this process


def find_ways(
    llm: Any, peers: Path, principles: Sequence[tuple[str, str]], served: str
) -> tuple[list[Way], dict[str, str]]:
    """All ways there are here, and why the others are not. `principles`: (text, question) of each; `served`: the
    judge's name at a server, or nothing."""
    ways, missing = bare_ways(llm), {}
    sys.path.append(str(peers))
    for name, find in (("distilabel", distilabel_ways), ("alpaca_eval", alpaca_ways)):
        try:
            ways += find(llm, principles, served)
        except ImportError as error:
            missing[name] = f"{type(error).__name__}: {error}"
    return ways, missing


# --- bare vLLM


def bare_ways(llm: Any) -> list[Way]:
    from vllm import SamplingParams

    from rlaif.engines.prepare import Prepared, Preparer
    from rlaif.engines.wire import request_from_dict

    preparer = Preparer(llm.get_tokenizer(), llm.llm_engine.vllm_config.model_config.max_model_len)

    def tokens(rows: Rows) -> tuple[list[Any], list[Any]]:
        prepared = [preparer.prepare(request_from_dict(row)) for row in rows]
        assert all(isinstance(one, Prepared) and len(one.tree.children) == 1 for one in prepared)
        return [{"prompt_token_ids": list(one.tokens)} for one in prepared], [sampling(one) for one in prepared]

    def sampling(one: Prepared) -> Any:
        wanted = list(one.tree.children[()])
        return SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=wanted, detokenize=False)

    def generate(prepared: tuple[list[Any], list[Any]]) -> Asked:
        outputs = llm.generate(*prepared, use_tqdm=False)
        return Asked(len(outputs), len(outputs))

    def chats(rows: Rows) -> tuple[list[Any], list[Any]]:
        messages = [[{"role": role, "content": text} for role, text in row["messages"]] for row in rows]
        return messages, tokens(rows)[1]

    def chat(prepared: tuple[list[Any], list[Any]]) -> Asked:
        outputs = llm.chat(*prepared, use_tqdm=False)
        return Asked(len(outputs), len(outputs))

    return [
        Way("bare vLLM, token ids", "LLM.generate on token ids made beforehand", generate, tokens),
        Way("bare vLLM, chats", "LLM.chat: vLLM applies the chat template and tokenises", chat, chats),
    ]


# --- distilabel


def distilabel_ways(llm: Any, principles: Sequence[tuple[str, str]], served: str) -> list[Way]:
    from benchmarks.judge_distilabel import default_rubric, overall, per_principle

    return [
        Way("distilabel, same information", *per_principle(llm, principles)),
        Way("distilabel, one rubric", *default_rubric(llm)),
        Way("distilabel, overall rating", *overall(llm)),
    ]


# --- alpaca_eval


def alpaca_ways(llm: Any, principles: Sequence[tuple[str, str]], served: str) -> list[Way]:
    from benchmarks.judge_alpaca import default_text, default_weighted, per_principle, per_principle_served

    own = [Way(SERVED, *per_principle_served(served, principles), is_served=True)] if served else []
    return [
        *own,
        Way("alpaca_eval, same information*", *per_principle(llm, principles)),
        Way("alpaca_eval, weighted", *default_weighted(llm)),
        Way("alpaca_eval, text", *default_text(llm)),
    ]
