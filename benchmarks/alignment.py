"""Does training on the quickstart's dataset move what the constitution asks for, and does turning a principle turn it?

    python -m benchmarks.alignment outputs/alignment              # as written, then each of six turned: half an hour
    python -m benchmarks.alignment outputs/alignment --seeds 5 --turned polite
    python -m benchmarks.alignment outputs/alignment --json

Everything goes through the commands that people type: `rlaif generate`, `rlaif train reward`, `rlaif train dpo`,
`rlaif tiny shares`, with the quickstart's settings. Per constitution and seed: the reward model's accuracy on pairs of
prompts that were held out, the share of answers that do as each principle asks before and after DPO (by the grammar's
ground truth, on prompts that nothing was trained on), the KL, and the seconds of each step. Seeds change the order of
rows, the head's first weights, which prompts are held out, and the prompts and answers of the measurement; the dataset
stays.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CONSTITUTION = ROOT / "constitution" / "small.yaml"


@dataclass
class Outcome:
    """One constitution and one seed. `shares` is what `rlaif tiny shares --json` prints."""

    name: str
    seed: int
    reward_accuracy: float
    shares: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)


def rlaif(*arguments: str, expected: Collection[int] = (0,)) -> str:
    """What a command prints; the end of this one, where its exit code is another than expected."""
    command = [sys.executable, "-m", "rlaif.cli.main", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in expected:
        sys.exit(f"{' '.join(arguments)}\n{done.stderr[-3000:]}")
    return done.stdout


def turned(principle: str) -> str:
    """The constitution with one principle's text and the comment under it exchanged."""
    lines = CONSTITUTION.read_text(encoding="utf-8").splitlines()
    at = lines.index(f"  - id: {principle}")
    text, other = lines[at + 1], lines[at + 2]
    lines[at + 1 : at + 3] = [f"    text: {other.split('# text: ')[1]}", f"    # {text.strip()}"]
    return "\n".join(lines) + "\n"


def principles() -> list[str]:
    lines = CONSTITUTION.read_text(encoding="utf-8").splitlines()
    return [line.split("id: ")[1] for line in lines if line.startswith("  - id: ")]


def timed(seconds: dict[str, float], name: str, work: Callable[[], str]) -> str:
    began = time.perf_counter()
    found = work()
    seconds[name] = round(time.perf_counter() - began, 1)
    return found


def one_run(folder: Path, name: str, seeds: Sequence[int]) -> list[Outcome]:
    """Judge under the constitution `name`.yaml of the folder, then train and measure once per seed."""
    constitution, seconds = str(folder / f"{name}.yaml"), dict[str, float]()
    sets = [f"constitution={constitution}", f"name={name}", f"output={folder}"]
    settings = [flag for text in sets for flag in ("--set", text)]
    timed(seconds, "generate", lambda: rlaif("generate", "--config", "quickstart.yaml", "--json", *settings))
    return [train_and_measure(folder, name, constitution, seed, dict(seconds)) for seed in seeds]


def train_and_measure(folder: Path, name: str, constitution: str, seed: int, seconds: dict[str, float]) -> Outcome:
    outputs = {method: str(folder / "models" / f"{name}-{method}-{seed}") for method in ("reward", "dpo")}
    told = {}
    for method, output in outputs.items():
        flags = ["--config", f"quickstart-{method}.yaml", "--data", str(folder / "runs" / name / "dataset"), "--json"]
        flags += ["--output", output, "--set", f"loop.seed={seed}", "--anew"]
        told[method] = json.loads(timed(seconds, method, lambda m=method, f=flags: rlaif("train", m, *f)))
    ask = ["tiny", "shares", outputs["dpo"], "--constitution", constitution, "--seed", str(2024 + seed), "--json"]
    shares = json.loads(timed(seconds, "shares", lambda: rlaif(*ask)))
    found = Outcome(name, seed, told["reward"]["figures"]["eval_accuracy"], shares, seconds)
    print(summary(found), flush=True)
    return found


def summary(one: Outcome) -> str:
    changes = ", ".join(
        f"{part['id']} {100 * part['change']['value']:+.0f}{'' if part['has_risen'] else ' (not shown)'}"
        for part in one.shares["principles"]
    )
    kl = one.shares["kl_nats_per_answer"]["value"]
    return (
        f"{one.name} seed {one.seed}: reward {one.reward_accuracy:.3f}; points: {changes}; KL {kl:.1f}; {one.seconds}"
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Per constitution the mean and the range over seeds."""
    lines = []
    for name in dict.fromkeys(one.name for one in outcomes):
        own = [one for one in outcomes if one.name == name]
        lines.append(f"\n{name}, {len(own)} seeds: mean (lowest to highest)")
        lines.append(f"  reward model right on held-out pairs  {spread([one.reward_accuracy for one in own])}")
        lines.append(f"  KL, nats per answer  {spread([one.shares['kl_nats_per_answer']['value'] for one in own])}")
        for place, part in enumerate(own[0].shares["principles"]):
            parts = [one.shares["principles"][place] for one in own]
            asks = part["property"] if part["wanted"] else f"not {part['property']}"
            before, after, change = (spread([p[k]["value"] for p in parts]) for k in ("before", "after", "change"))
            risen = f"risen in {sum(p['has_risen'] for p in parts)} of {len(parts)}"
            lines.append(f"  {part['id']:14} {asks:14} {before} → {after}  change {change}  {risen}")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where runs and models go; a second call asks nothing twice")
    parser.add_argument("--seeds", type=int, default=3, help="of the constitution as written; turned ones get one")
    parser.add_argument("--turned", nargs="*", default=principles(), help="principles to turn round, one at a time")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "as-written.yaml").write_text(CONSTITUTION.read_text(encoding="utf-8"), encoding="utf-8")
    outcomes = one_run(folder, "as-written", range(chosen.seeds))
    for principle in chosen.turned:
        (folder / f"turned-{principle}.yaml").write_text(turned(principle), encoding="utf-8")
        outcomes += one_run(folder, f"turned-{principle}", [0])
    print(json.dumps([asdict(one) for one in outcomes], indent=2) if chosen.json else table(outcomes))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
