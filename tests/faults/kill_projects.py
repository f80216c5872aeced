"""A small project to be killed in: its settings, its final files, and what its ledger says."""

import json

from rlaif.store import Store
from tests.faults.ledger import Reader
from tests.tiny_llama import write_tiny_llama

SETTINGS = """
name: killed
constitution: constitution.yaml
prompts: [{{path: prompts.jsonl}}]
policies: [{{model: {policy}, samples: 3}}]
judge: {{model: {judge}}}
engine: {engine}
pairs: {{min_margin: 0.0{pairs}}}
"""
TOURNAMENT = """
schedule: {kind: swiss}
judges: {others: [{model: small}], ask: cascade, threshold: 0.1}
"""
CONSTITUTION = """
name: killed
principles:
- id: kind
  text: A good answer is kind.
  question: Which response is kinder?
- id: plain
  text: A good answer is plain.
  question: Which response is plainer?
"""
UNCOMPARED = ("timings.json", "log.txt")  # how long it took, and what the models' libraries said
KINDS = ("responses", "judgments", "critiques")


class Project:
    """`engine` are the engine's settings; with `models`, a folder that holds one model's folder for each name. `more`
    are further settings: TOURNAMENT for rounds that rest on each other and two judges."""

    def __init__(self, folder, engine, models=None, more=""):
        self.folder, self.place = folder, str(folder)  # where it is seen from here, and where from its workers
        (folder / "tmp").mkdir(parents=True)
        names = {name: str(models / name) if models else name for name in ("policy", "judge")}
        pairs = ", rank_by: bradley_terry" if more else ""
        (folder / "rlaif.yaml").write_text(SETTINGS.format(engine=json.dumps(engine), pairs=pairs, **names) + more)
        (folder / "constitution.yaml").write_text(CONSTITUTION)
        lines = [json.dumps({"prompt": f"Question number {n}?", "tags": ["t"]}) for n in range(6)]
        (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")

        self._events = None

    @property
    def ledger(self):
        return self.folder / "ledger"

    def events(self):
        if self._events is None:
            self._events = Reader(self.ledger)
        return self._events.lines()

    def said(self):
        path = self.folder / "said.txt"
        return path.read_text() if path.exists() else ""

    def files(self):
        """The run's final files, and what may not be left among them."""
        run = self.folder / "outputs/runs/killed"
        found = {str(path.relative_to(run)): path for path in run.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in found.items() if name not in UNCOMPARED}

    def results(self):
        """All that the store holds, by kind and key."""
        with Store(self.folder / "outputs/store") as store:
            found = {kind: store.read(kind) for kind in KINDS}
            assert store.damage == []
        return found


def write_models(folder):
    """Two folders that look like models as far as their small files go; nobody loads them."""
    for name in ("policy", "judge"):
        own = write_tiny_llama(folder / name, weights=False)
        (own / "model.safetensors").write_bytes(b"weights")
    return folder
