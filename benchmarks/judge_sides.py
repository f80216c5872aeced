"""Both sides of `benchmarks.judge`: our road from pairs to labels, and the process that holds vLLM for the others."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlaif.constitution import Constitution
from rlaif.engines import identify, open_engine
from rlaif.engines.child_process import ChildProcess
from rlaif.engines.model_files import find_model
from rlaif.engines.order import prefix_order
from rlaif.engines.vllm_flags import environment, is_cpu_build, model_arguments, offline_block_tokens
from rlaif.engines.vllm_server import VllmServer
from rlaif.engines.wire import request_to_dict
from rlaif.feedback.ask import Model, Session
from rlaif.feedback.hear_pairs import hear_pairs, label_heard
from rlaif.feedback.judge import judge_stage
from rlaif.feedback.modes import mode_of
from rlaif.feedback.progress import Quiet
from rlaif.records import ResponsePair
from rlaif.settings import EngineSettings, JudgeSettings, LabelSettings
from rlaif.store import Store
from rlaif.templates import load_template


class Ours:
    """Our road from pairs to labels, over one engine that stays loaded."""

    def __init__(self, settings: EngineSettings, model: str, constitution: Constitution, folder: Path) -> None:
        self.judge, self.constitution, self.folder = JudgeSettings(model=model), constitution, folder
        self.template, self.identity = load_template("judge"), identify(settings, model)
        log_file = folder / "ours.log"
        self.mode = mode_of(self.judge, constitution, self.template, self.identity)
        self.model = Model(model, self.identity, lambda: open_engine(settings, model, log_file=log_file))
        self.session, self._asked = Session(self.model), 0
        self.engine = self.session.engine(Quiet())
        assert self.engine.max_model_len  # known once the model is loaded

    def ask(self, pairs: Sequence[ResponsePair]) -> dict[str, Any]:
        """What it took from pairs to labels, on a store of its own."""
        self._asked += 1
        before, used = self.engine.counters(), processor_seconds(os.getpid(), self.engine.pid)
        begun = time.perf_counter()
        with Store(self.folder / f"store-{self._asked}", will_append=True) as store:
            heard = hear_pairs(self.mode, pairs, session=self.session, store=store, progress=Quiet())
            settings = LabelSettings()
            labels = [
                label_heard(self.mode, pair, heard, self.constitution, probability_floor=0.01, settings=settings)
                for pair in pairs
            ]
            judged = heard.judgments
        seconds = time.perf_counter() - begun
        used = processor_seconds(os.getpid(), self.engine.pid) - used
        after = self.engine.counters()
        verdicts = [one for own in judged.values() for one in own]
        assert len(labels) == len(pairs)
        return {
            "seconds": seconds,
            "processor_s": used,
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

    def __init__(
        self,
        settings: EngineSettings,
        model: str,
        constitution: Constitution,
        folder: Path,
        peers: Path,
        server: VllmServer | None,
    ) -> None:
        files, cpu = find_model(model, settings), is_cpu_build()
        arguments = model_arguments(settings, files, cpu=cpu)
        if cpu:
            arguments["block_size"] = offline_block_tokens(settings)
        environ = {**environment(cpu=cpu, in_process=True), "HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "unused"}
        clients = folder / "clients.yaml"
        if server:
            clients.write_text(json.dumps({"default": [{"api_key": "unused", "base_url": server.base_url}]}))
            environ["OPENAI_CLIENT_CONFIG_PATH"] = str(clients)
        self._child = ChildProcess("benchmarks.judge_peers", environ=environ, log_file=folder / "peers.log")
        principles = [(one.text, one.question) for one in constitution.enabled]
        self._child.send(
            {"type": "start", "arguments": arguments, "cpu": cpu, "peers": str(peers), "principles": principles}
            | {
                "served": server.name if server else "",
                "metrics_url": server.base_url.removesuffix("/v1") + "/metrics" if server else "",
            }
        )
        ready = self._child.receive("ready")
        self.about: dict[str, str] = ready["about"]
        self.missing: dict[str, str] = ready["missing"]

    def ask(self, way: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        self._child.send({"type": "ask", "way": way, "rows": rows})
        return self._child.receive("asked")

    def close(self) -> None:
        self._child.close(is_asked=True)


def processor_seconds(*pids: int) -> float:
    """What these processes have used of all cores. Elsewhere than on Linux: 0."""
    used = 0.0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists():
            fields = stat.read_text().rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used
