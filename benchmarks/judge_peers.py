"""The process of `benchmarks.judge` that holds `vllm.LLM` itself: bare vLLM, and other projects' ways of asking it.

    python -m benchmarks.judge_peers READ_FD WRITE_FD        (started by benchmarks/judge.py, never by hand)

All share one engine with the arguments ours has. Only the asking is timed: from rows in memory to labels in memory.
Who asks how is in `benchmarks/judge_ways.py`.
"""

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.judge_ways import Asked, Way, find_ways
from rlaif.engines.vllm_child import announce_small_blocks
from rlaif.engines.vllm_flags import SMALL_BLOCK_TOKENS
from rlaif.engines.wire import read_message, write_message

Counters = Callable[[], dict[str, int]]


def main() -> None:
    requests, replies = os.fdopen(int(sys.argv[1]), "rb"), os.fdopen(int(sys.argv[2]), "wb")
    start = read_message(requests)
    assert start is not None
    llm = load(start["arguments"], cpu=start["cpu"])
    ways, missing = find_ways(llm, Path(start["peers"]), start["principles"], start["served"])
    served = served_counters(start["metrics_url"]) if start["served"] else None
    write_message(replies, {"type": "ready", "missing": missing, "about": {way.name: way.about for way in ways}})
    by_name = {way.name: way for way in ways}
    while (message := read_message(requests)) is not None and message["type"] == "ask":
        write_message(replies, {"type": "asked", **measured(llm, by_name[message["way"]], message["rows"], served)})
    os._exit(0)


def load(arguments: dict[str, Any], *, cpu: bool) -> Any:
    from vllm import LLM

    if cpu and arguments["block_size"] == SMALL_BLOCK_TOKENS:
        announce_small_blocks()
    return LLM(**arguments, disable_log_stats=False)


def measured(llm: Any, way: Way, rows: list[dict[str, Any]], served: Counters | None) -> dict[str, Any]:
    """What one way of asking took for these rows. What was asked before is forgotten."""
    llm.reset_prefix_cache()
    count = served if way.is_served and served else lambda: counters(llm)
    prepared, before = way.prepare(rows), count()
    begun, used = time.perf_counter(), time.process_time()
    asked: Asked = way.ask(prepared)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    after = count()
    return {
        "seconds": seconds,
        "processor_s": 0.0 if way.is_served else used,  # most of it is the server's
        "verdicts": asked.verdicts,
        "read": asked.read,
        **{name: after[name] - before[name] for name in after},
    }


def counters(llm: Any) -> dict[str, int]:
    """vLLM's own totals of requests, prompt tokens computed and tokens written."""
    found = {"requests": 0, "computed": 0, "written": 0}
    for metric in llm.get_metrics():
        name = metric.name.removesuffix("_total")
        if name == "vllm:request_success":
            found["requests"] += int(metric.value)
        elif name == "vllm:prompt_tokens_by_source" and metric.labels.get("source") == "local_compute":
            found["computed"] += int(metric.value)
        elif name == "vllm:generation_tokens":
            found["written"] += int(metric.value)
    return found


def served_counters(url: str) -> Counters:
    """The same totals of vLLM's server, from what it tells Prometheus."""
    import httpx

    def total(text: str, name: str) -> int:
        return sum(int(float(line.rpartition(" ")[2])) for line in text.splitlines() if re.match(name, line))

    def count() -> dict[str, int]:
        text = httpx.get(url).text
        return {
            "requests": total(text, r"vllm:request_success_total\b"),
            "computed": total(text, r'vllm:prompt_tokens_by_source_total\{.*source="local_compute"'),
            "written": total(text, r"vllm:generation_tokens_total\b"),
        }

    return count


if __name__ == "__main__":
    main()
