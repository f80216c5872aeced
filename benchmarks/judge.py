"""Labels per second, and prompt tokens computed per label: ours, distilabel's and alpaca_eval's way of asking.

    python -m benchmarks.judge                      # both tables; it says how long it still takes
    python -m benchmarks.judge --only overhead      # what we add to bare vLLM, alone
    python -m benchmarks.judge --json

The same pairs of answers, the same judge, the same vLLM with the same arguments, in one run: each repetition draws new
pairs and puts them to every way, one after the other, each time beginning with another. A label is a pair with
everything that way says about it. `same information`: a verdict under every principle in both orders. Ours is timed
from pairs in memory to labels in memory, with keys, templates, the store on disk, and the pipe to the process that
holds vLLM. Who asks how is in `benchmarks/judge_ways.py`, and printed.

The peers' packages are installed into a folder of their own (--peers) beside the environment's vLLM; where that fails,
they are left out, and the table says so.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.judge_sides import Ours, Peers
from benchmarks.judging_requests import first_principles, judged_pairs
from benchmarks.peer_packages import PEERS_FOLDER, install_into
from rlaif.engines.vllm_flags import is_cpu_build
from rlaif.engines.vllm_server import VllmServer
from rlaif.records import ResponsePair
from rlaif.settings import EngineSettings
from rlaif.templates import render_conversation

PEERS = ("distilabel==1.5.3", "alpaca_eval==0.6.6")
NEEDED = ("fire", "termcolor", "portalocker", "tblib", "universal-pathlib", "pathlib-abc", "nest-asyncio", "orjson")
OURS, TOKENS, CHATS = "rlaif", "bare vLLM, token ids", "bare vLLM, chats"
SAME = "same information"
TARGET_RATIO, TARGET_OVERHEAD = 5.0, 0.05

Took = dict[str, list[dict[str, Any]]]


def main() -> int:
    options = parse()
    problem = install_peers(options.peers)
    settings = EngineSettings(dtype=options.dtype, kv_cache_gib=1.0)
    constitution = first_principles(options.principles)
    folder = Path(tempfile.mkdtemp(prefix="bench-judge-"))
    ours = Ours(settings, options.model, constitution, folder)
    server = None if options.only == "overhead" else start_server(settings, options.model, folder)
    peers = Peers(settings, options.model, constitution, folder, options.peers, server)
    told: dict[str, Any] = {
        "model": f"{options.model}, {options.dtype}",
        "data": f"3 answers of {options.words[0]} to {options.words[1]} words to each of {options.prompts} shipped"
        f" prompts ({options.overhead_prompts} for the overhead), all pairs; {options.principles} principles",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {'CPU' if is_cpu_build() else 'GPU'}",
        "repetitions": options.repetitions,
        "load average": round(os.getloadavg()[0], 2),
        "not measured": {name: f"{why} {problem}".strip() for name, why in peers.missing.items()},
    }
    if options.only != "peers":
        told["overhead"] = figures(repeat(ours, peers, (OURS, TOKENS, CHATS), options, options.overhead_prompts, 0))
    if options.only != "overhead":
        ways = (OURS, *(way for way in peers.about if way not in (TOKENS, CHATS)))
        told["ways"] = figures(repeat(ours, peers, ways, options, options.prompts, 10_000))
        told["about"] = {OURS: "a verdict by log-probabilities, every principle, both orders, 1 token"} | peers.about
    peers.close()
    ours.engine.close()
    if server:
        server.stop()
    shutil.rmtree(folder)
    print(json.dumps(told, indent=2) if options.json else table(told))
    return 0


def start_server(settings: EngineSettings, model: str, folder: Path) -> VllmServer:
    """vLLM's server with the same model: what alpaca_eval's client asks."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = VllmServer(settings, model, host="127.0.0.1", port=port, log_file=folder / "server.log")
    server.wait_ready()
    return server


def install_peers(folder: Path) -> str:
    """The peers' packages without what the environment has already. Returns why they are not there, or nothing."""
    if all((folder / one.partition("==")[0]).is_dir() for one in PEERS):
        return ""
    return install_into(folder, (*PEERS, *NEEDED))


def repeat(ours: Ours, peers: Peers, ways: Sequence[str], options: argparse.Namespace, prompts: int, seed: int) -> Took:
    """Every way on the same pairs, repetition after repetition, each beginning with another way."""
    found: Took = {way: [] for way in ways}
    begun = time.monotonic()
    for number in range(options.repetitions + 1):
        pairs = judged_pairs(num_prompts=prompts, num_answers=3, words=tuple(options.words), seed=seed + number)
        turn = number % len(ways)
        for way in [*ways[turn:], *ways[:turn]]:
            took = ask(ours, peers, way, pairs) | {"pairs": len(pairs)}
            if number:  # the first one warms up
                found[way].append(took)
        seconds = time.monotonic() - begun
        left = seconds / (number + 1) * (options.repetitions - number)
        done = f"{number} of {options.repetitions} repetitions" if number else "warmed up"
        print(f"{', '.join(ways)}: {done}, {seconds:.0f} s, about {left:.0f} s left", file=sys.stderr, flush=True)
    return found


def ask(ours: Ours, peers: Peers, way: str, pairs: Sequence[ResponsePair]) -> dict[str, Any]:
    if way == OURS:
        return ours.ask(pairs)
    if way in (TOKENS, CHATS):
        return peers.ask(way, ours.requests(pairs))
    rows = [{"conversation": render_conversation(p.prompt.messages), "a": p.x.text, "b": p.y.text} for p in pairs]
    return peers.ask(way, rows)


def figures(found: Took) -> dict[str, Any]:
    """Per way: labels a second, how many times as long as ours it took, and what a label costs."""
    told = {}
    for way, took in found.items():
        pairs, beside = sum(one["pairs"] for one in took), zip(took, found[OURS], strict=True)
        costs = ("requests", "verdicts", "read", "computed", "written")
        told[way] = {
            "labels_per_s": spread([one["pairs"] / one["seconds"] for one in took]),
            "times_ours": spread([one["seconds"] / own["seconds"] for one, own in beside]),
            "processor_ms_per_label": round(1000 * sum(one["processor_s"] for one in took) / pairs, 1),
            **{f"{name}_per_label": round(sum(one[name] for one in took) / pairs, 2) for name in costs},
        }
    return told


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least, most."""
    return statistics.median(values), min(values), max(values)


def table(told: dict[str, Any]) -> str:
    lines = [f"{name}: {value}" for name, value in told.items() if name not in ("overhead", "ways", "about")]
    lines.append("rates are medians of the repetitions [least, most]; tokens and verdicts are per label")
    for part in ("overhead", "ways"):
        if part in told:
            lines += ["", HEAD, *(row(way, own, part) for way, own in told[part].items())]
    lines += [""] + [f"{way}: {what}" for way, what in told.get("about", {}).items()]
    return "\n".join([*lines, "", *verdicts(told)])


HEAD = f"{'':31}{'labels/s':>22}{'ours is':>24}{'verdicts':>10}{'computed':>10}{'written':>9}{'CPU ms':>8}"


def row(way: str, own: dict[str, Any], part: str) -> str:
    rate, times = own["labels_per_s"], own["times_ours"]
    faster = "" if way == OURS else f"{times[0]:.2f} × [{times[1]:.2f}, {times[2]:.2f}]"
    return (
        f"{way:31}{f'{rate[0]:.2f} [{rate[1]:.2f}, {rate[2]:.2f}]':>22}{faster:>24}{own['verdicts_per_label']:>10.1f}"
        f"{own['computed_per_label']:>10.0f}{own['written_per_label']:>9.1f}{own['processor_ms_per_label']:>8.1f}"
    )


def verdicts(told: dict[str, Any]) -> list[str]:
    """What was reached of what was aimed at."""
    lines = []
    for way in (TOKENS, CHATS) if "overhead" in told else ():
        middle, least, most = (1 / times - 1 for times in told["overhead"][way]["times_ours"])
        lines.append(f"over {way}: {middle:+.1%} [{most:+.1%}, {least:+.1%}]; aimed at: at most {TARGET_OVERHEAD:.0%}")
    for way, own in told.get("ways", {}).items():
        if SAME in way:
            lines.append(f"{way}: ours is {own['times_ours'][0]:.1f} × as fast; aimed at: {TARGET_RATIO:g} ×")
    return lines


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--model", default="tiny-judge")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--only", choices=("overhead", "peers"))
    parser.add_argument("--prompts", type=int, default=4, help="prompts of a repetition; each has 3 pairs")
    parser.add_argument("--overhead-prompts", type=int, default=10, help="those where only ours and bare vLLM run")
    parser.add_argument("--principles", type=int, default=12)
    parser.add_argument("--words", type=int, nargs=2, default=(60, 120), help="least and most words of an answer")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=PEERS_FOLDER)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
