"""Labels per second, and prompt tokens computed per label: ours, distilabel's and alpaca_eval's way of asking.

    python -m benchmarks.judge                      # both tables, about five minutes on two cores
    python -m benchmarks.judge --only overhead      # what we add to bare vLLM, alone
    python -m benchmarks.judge --json

The same pairs of answers, the same judge, the same vLLM with the same arguments, in one run: each repetition draws new
pairs and puts them to every way, one after the other and in another order each time. A label is a pair with everything
that way says about it. `same information`: a verdict under every principle in both orders. Ours is timed from pairs in
memory to labels in memory, with keys, templates, the store on disk, and the pipe to the process that holds vLLM.

The peers' packages are installed into a folder of their own (--peers, default ~/.cache/rlaif/bench-peers) beside the
environment's vLLM; without a network they are left out, and the table says so.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.judging_requests import first_principles, judged_pairs
from rlaif.constitution import Constitution
from rlaif.engines import identify, open_engine
from rlaif.engines.child_process import ChildProcess
from rlaif.engines.model_files import find_model
from rlaif.engines.order import prefix_order
from rlaif.engines.vllm_flags import environment, is_cpu_build, model_arguments, offline_block_tokens
from rlaif.engines.wire import request_to_dict
from rlaif.feedback.aggregate import label_pair
from rlaif.feedback.ask import Model, Session
from rlaif.feedback.judge import judge_pairs, judge_stage
from rlaif.feedback.progress import Quiet
from rlaif.records import ResponsePair
from rlaif.settings import EngineSettings, JudgeSettings
from rlaif.store import Store
from rlaif.templates import load_template, render_conversation

PEERS = {"distilabel": "1.5.3", "alpaca_eval": "0.6.6"}
NEEDED = ("fire", "termcolor", "portalocker", "tblib", "universal-pathlib", "pathlib-abc", "nest-asyncio", "orjson")
OURS, BARE, CHATS = "rlaif", "bare vLLM, token ids", "bare vLLM, chats"
SAME = (OURS, "alpaca_eval, same information", "distilabel, same information")
TARGET_RATIO, TARGET_OVERHEAD = 5.0, 0.05


class Ours:
    """Our road from pairs to labels, over one engine that stays loaded."""

    def __init__(self, settings: EngineSettings, model: str, constitution: Constitution, folder: Path) -> None:
        self.judge, self.constitution, self.folder = JudgeSettings(model=model), constitution, folder
        self.template, self.identity = load_template("judge"), identify(settings, model)
        log_file = folder / "ours.log"
        self.model = Model(model, self.identity, lambda: open_engine(settings, model, log_file=log_file))
        self.session = Session(self.model)
        self.engine = self.session.engine(Quiet())
        assert self.engine.max_model_len  # known once the model is loaded

    def ask(self, pairs: Sequence[ResponsePair], number: int) -> dict[str, Any]:
        before = self.engine.counters()
        begun = time.perf_counter()
        with Store(self.folder / f"store-{number}", will_append=True) as store:
            judged = judge_pairs(
                pairs,
                self.constitution,
                self.judge,
                template=self.template,
                session=self.session,
                store=store,
                progress=Quiet(),
            )
            labels = [label_pair(p, judged[p.id], self.constitution, probability_floor=0.01) for p in pairs]
        seconds = time.perf_counter() - begun
        after = self.engine.counters()
        verdicts = [one for own in judged.values() for one in own]
        assert len(labels) == len(pairs)
        return {
            "seconds": seconds,
            "verdicts": len(verdicts),
            "read": sum(one.probability_a is not None for one in verdicts),
            "requests": after.requests - before.requests,
            "computed": (after.computed_tokens or 0) - (before.computed_tokens or 0),
            "written": after.output_tokens - before.output_tokens,
        }

    def requests(self, pairs: Sequence[ResponsePair]) -> list[dict[str, Any]]:
        """What is sent for these pairs, in the order it is sent in."""
        stage = judge_stage(pairs, self.constitution, self.judge, template=self.template, identity=self.identity)
        return [request_to_dict(one) for one in prefix_order(stage.asking.requests.values())]


class Peers:
    """The process that holds `vllm.LLM` for the others."""

    def __init__(self, settings: EngineSettings, model: str, constitution: Constitution, folder: Path, peers: Path):
        files, cpu = find_model(model, settings), is_cpu_build()
        arguments = model_arguments(settings, files, cpu=cpu)
        if cpu:
            arguments["block_size"] = offline_block_tokens(settings)
        environ = {**environment(cpu=cpu, in_process=True), "HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "unused"}
        self._child = ChildProcess("benchmarks.judge_peers", environ=environ, log_file=folder / "peers.log")
        principles = [(one.text, one.question) for one in constitution.enabled]
        self._child.send(
            {"type": "start", "arguments": arguments, "cpu": cpu, "peers": str(peers), "principles": principles}
        )
        ready = self._child.receive("ready")
        self.about: dict[str, str] = ready["about"]
        self.missing: dict[str, str] = ready["missing"]

    def ask(self, way: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        self._child.send({"type": "ask", "way": way, "rows": rows})
        return self._child.receive("asked")

    def close(self) -> None:
        self._child.close(is_asked=True)


def install_peers(folder: Path) -> str:
    """The peers' packages without what the environment has already. Returns why they are not there, or nothing."""
    if all((folder / name).is_dir() for name in PEERS):
        return ""
    wanted = [f"{name}=={version}" for name, version in PEERS.items()]
    command = [sys.executable, "-m", "uv", "pip", "install", "--target", str(folder), "--no-deps", *wanted, *NEEDED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode and done.stderr.strip() else ""


def repeat(ours: Ours, peers: Peers, ways: Sequence[str], options: argparse.Namespace, prompts: int) -> dict[str, Any]:
    """Every way on the same pairs, repetition after repetition, each beginning with another way."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for number in range(-1, options.repetitions):  # the first one warms up and is not counted
        pairs = judged_pairs(num_prompts=prompts, num_answers=3, words=tuple(options.words), seed=1000 + number)
        turn = (number + 1) % len(ways)
        for way in [*ways[turn:], *ways[:turn]]:
            took = ask(ours, peers, way, pairs)
            took["pairs"] = len(pairs)
            if number >= 0:
                found[way].append(took)
    return found


def ask(ours: Ours, peers: Peers, way: str, pairs: Sequence[ResponsePair]) -> dict[str, Any]:
    if way == OURS:
        ours.count = getattr(ours, "count", 0) + 1
        return ours.ask(pairs, ours.count)
    if way in (BARE, CHATS):
        return peers.ask(way, ours.requests(pairs))
    rows = [{"conversation": render_conversation(p.prompt.messages), "a": p.x.text, "b": p.y.text} for p in pairs]
    return peers.ask(way, rows)


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "n": len(values)}


def figures(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Per way: labels a second and its spread, and what a label costs."""
    told = {}
    for way, took in found.items():
        pairs = sum(one["pairs"] for one in took)
        told[way] = {
            "labels_per_s": spread([one["pairs"] / one["seconds"] for one in took]),
            "slower": spread([a["seconds"] / b["seconds"] for a, b in zip(took, found[OURS], strict=True)]),
            **{f"{name}_per_label": round(sum(one[name] for one in took) / pairs, 2)
               for name in ("requests", "verdicts", "read", "computed", "written")},
        }  # fmt: skip
    return told


def main() -> int:
    options = parse()
    problem = install_peers(options.peers)
    settings = EngineSettings(dtype=options.dtype, kv_cache_gib=1.0)
    constitution = first_principles(options.principles)
    folder = Path(tempfile.mkdtemp(prefix="bench-judge-"))
    ours = Ours(settings, options.model, constitution, folder)
    peers = Peers(settings, options.model, constitution, folder, options.peers)
    print(peers.missing, problem, folder, file=sys.stderr)
    told: dict[str, Any] = {
        "model": options.model,
        "data": f"answers of {options.words[0]} to {options.words[1]} words to shipped prompts, 3 a prompt, all pairs;"
        f" {len(constitution.enabled)} principles of constitution/default.yaml",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {'CPU' if is_cpu_build() else 'GPU'}",
        "missing": peers.missing,
        "about": peers.about,
    }
    if options.only != "peers":
        told["overhead"] = figures(repeat(ours, peers, (OURS, BARE, CHATS), options, options.overhead_prompts))
    if options.only != "overhead":
        ways = (OURS, *(way for way in peers.about if way not in (BARE, CHATS)))
        told["ways"] = figures(repeat(ours, peers, ways, options, options.prompts))
    peers.close()
    ours.engine.close()
    print(json.dumps(told, indent=2))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--model", default="tiny-judge")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--only", choices=("overhead", "peers"))
    parser.add_argument("--prompts", type=int, default=6, help="prompts of a repetition; each has 3 pairs")
    parser.add_argument("--overhead-prompts", type=int, default=30)
    parser.add_argument("--principles", type=int, default=12)
    parser.add_argument("--words", type=int, nargs=2, default=(60, 120), help="least and most words of an answer")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "rlaif" / "bench-peers")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
