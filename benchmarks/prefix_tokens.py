"""How many prompt tokens real vLLM computes, over the tokens of the requests' prefix tree: the least any engine could.

    python -m benchmarks.prefix_tokens [--json] [--model tiny-judge] [--prompts 8] [--principles 12]

The same judging requests go to the same model in our order and in a shuffled one, each through a fresh vLLM with a KV
cache that holds only some of the prompts. Computed tokens are vLLM's own counter. Target for our order: at most 1.10.
"""

import argparse
import json
import platform
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.judging_requests import judging_requests
from rlaif.engines import open_engine
from rlaif.engines.base import Request
from rlaif.engines.model_files import find_model
from rlaif.engines.order import prefix_order
from rlaif.engines.vllm_flags import GIB, is_cpu_build, offline_block_tokens
from rlaif.numbers.prefix import prefix_tree_tokens
from rlaif.settings import EngineSettings

TARGET = 1.10
_DTYPE_BYTES = 2


def main() -> int:
    options = parse()
    settings = EngineSettings(dtype="bfloat16", max_num_seqs=options.max_num_seqs, kv_cache_gib=1.0)
    files = find_model(options.model, settings)
    cache_gib = options.cache_tokens * token_bytes(files.config) / GIB
    settings = settings.model_copy(update={"kv_cache_gib": cache_gib})
    requests = judging_requests(
        num_prompts=options.prompts,
        num_answers=options.answers,
        num_principles=options.principles,
        min_words=options.min_words,
        max_words=options.max_words,
    )
    token_lists = tokenise(files.source, requests)
    figures = {
        "model": files.name,
        "data": f"{options.prompts} shipped prompts x {options.answers} answers, all pairs, both orders, "
        f"{options.principles} principles of constitution/default.yaml",
        "num_requests": len(requests),
        "mean_prompt_tokens": round(sum(map(len, token_lists)) / len(token_lists), 1),
        "prompt_tokens": sum(map(len, token_lists)),
        "prefix_tree_tokens": prefix_tree_tokens(token_lists),
        "kv_cache_tokens": options.cache_tokens,
        "block_tokens": offline_block_tokens(settings) if is_cpu_build() else "vLLM's own",
        "machine": f"{platform.machine()}, {'CPU' if is_cpu_build() else 'GPU'}",
    }
    shuffled = random.Random(0).sample(requests, len(requests))
    for name, ordered in (("ours", prefix_order(requests)), ("shuffled", shuffled)):
        figures[name] = measure(settings, options.model, ordered, figures["prefix_tree_tokens"])
    print(json.dumps(figures, indent=2) if options.json else table(figures))
    return 0 if figures["ours"]["ratio"] <= TARGET else 1


def measure(settings: EngineSettings, model: str, requests: list[Request], tree: int) -> dict[str, float]:
    log_file = Path(tempfile.mkdtemp()) / "log.txt"
    with open_engine(settings, model, log_file=log_file) as engine:
        assert engine.max_model_len  # known once the model is loaded: the clock starts after that
        begun = time.perf_counter()
        answers = list(engine.complete(requests))
        seconds = time.perf_counter() - begun
        computed = engine.counters().computed_tokens
    assert computed is not None
    assert len(answers) == len(requests)
    return {
        "computed_tokens": computed,
        "ratio": round(computed / tree, 4),
        "verdicts_per_s": round(len(answers) / seconds, 1),
    }


def tokenise(source: str, requests: list[Request]) -> list[tuple[int, ...]]:
    from transformers import AutoTokenizer

    from rlaif.engines.prepare import Prepared, Preparer

    preparer = Preparer(AutoTokenizer.from_pretrained(source), 10**9)
    prepared = [preparer.prepare(request) for request in requests]
    return [one.tokens for one in prepared if isinstance(one, Prepared)]


def token_bytes(config: dict[str, Any]) -> int:
    """Bytes of keys and values one token takes in the cache, in bfloat16."""
    heads = config.get("num_key_value_heads") or config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return int(2 * config["num_hidden_layers"] * heads * size * _DTYPE_BYTES)


def table(figures: dict[str, Any]) -> str:
    head = "\n".join(f"{name}: {value}" for name, value in figures.items() if not isinstance(value, dict))
    rows = [
        f"{name:9} computed {row['computed_tokens']:>9,}  ratio {row['ratio']:.3f}  {row['verdicts_per_s']} verdicts/s"
        for name, row in figures.items()
        if isinstance(row, dict)
    ]
    return "\n".join([head, *rows, f"target for ours: <= {TARGET}"])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--model", default="tiny-judge")
    parser.add_argument("--prompts", type=int, default=6)
    parser.add_argument("--answers", type=int, default=3)
    parser.add_argument("--principles", type=int, default=12)
    parser.add_argument("--min-words", type=int, default=130)
    parser.add_argument("--max-words", type=int, default=200)
    parser.add_argument("--cache-tokens", type=int, default=8192, help="size of the KV cache")
    parser.add_argument("--max-num-seqs", type=int, default=64, help="requests vLLM works on at once")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
