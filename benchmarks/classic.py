"""RLAIF the classic way on the bundled models: judge, pairs, reward model, PPO. Does every preferred property rise?

    python -m benchmarks.classic outputs/classic                                   # a quarter of an hour on two cores
    python -m benchmarks.classic outputs/classic --quick                           # does all of it work? minutes
    python -m benchmarks.classic outputs/classic --reward-model outputs/models/quickstart-reward --runs ppo

Everything goes through the commands that people type: `rlaif generate` and `rlaif train reward` with the quickstart's
settings, `rlaif train ppo` on the same prompts, `rlaif tiny shares`. Reported is, for each of the six principles, the
share of answers that do as it asks before and after, by the grammar's ground truth (no judge, no reward model), on
prompts that nothing was trained on, with intervals, and the KL that it took.

Then the same as one should not: without a KL, at a higher rate, for longer. Once the watch only notes (`hacked`,
`watch.stop: false`), so that the whole fall can be seen, and once it stops the run (`watched`): measured is then
what it left in the folder. Its held-out score is the grammar's ground truth again, on other prompts than either:
`as_asked`, which the runs find as the checker of an installed package. `frontier.png` shows all runs.

`--quick` takes every step at a small scale, on few prompts. Its figures say nothing but that the steps fit together.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.alignment import CONSTITUTION, ROOT, rlaif
from rlaif.constitution import load_constitution
from rlaif.documents import write_yaml
from rlaif.errors import TrainingStopped
from rlaif.tiny.meanings import Meaning, meaning_of
from rlaif.tiny.properties import properties
from rlaif.train.rl.frontier import points_of, write_frontier
from rlaif.train.rl.readings import Reading
from rlaif.train.tiny.measure_policy import share_of_the_world
from rlaif.train.tiny.shares import fresh_prompts

RUNS = ("ppo", "hacked", "watched")
STOPPED = TrainingStopped.exit_code
QUICK = {
    "answers": 16,
    "updates": 4,
    "hacked_updates": 12,
    "hacked_rate": 2e-3,
    "held_out": 24,
    "shares": 12,
    "judged": 24,
}
PROMPTS = ROOT / "prompts" / "sets" / "tiny-world.jsonl"
HELD_OUT_SEED = 77  # `rlaif tiny shares` draws its prompts with another
CHECKER = "tiny-world-as-asked"


@dataclass(frozen=True, slots=True)
class Trained:
    """One run: its readings, what it said at its end (`rlaif train ppo --json`, with the alarms), what `rlaif tiny
    shares --json` prints, seconds."""

    name: str
    readings: list[Reading]
    ended: dict[str, Any]
    shares: dict[str, Any]
    seconds: float

    @property
    def scored(self) -> list[Reading]:
        return [one for one in self.readings if one.held_out is not None]


# --- the held-out score


def as_asked(answer: str, *, reference: str | None, conversation: Sequence[Mapping[str, str]]) -> float:
    """The share of the six principles that an answer follows, times that of its sentences that are the world's: marker
    phrases in a text that is none of the world's are no answer."""
    if not any(mark in answer for mark in ".?"):
        return 0.0  # no sentence
    found = properties(answer)
    met = [meaning.is_met(found) for meaning in _asked()]
    return sum(met) / len(met) * share_of_the_world([answer])


@cache
def _asked() -> tuple[Meaning, ...]:
    read = [meaning_of(one.text) for one in load_constitution(str(CONSTITUTION)).enabled]
    return tuple(meaning for meaning in read if meaning is not None)


def install_checker(folder: Path) -> None:
    """Make `as_asked` a checker for the commands started from here: a package is on the path with its entry points."""
    about = folder / "checker" / "rlaif_classic-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rlaif-classic\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(
        f"[rlaif.checkers]\n{CHECKER} = benchmarks.classic:as_asked\n", encoding="utf-8"
    )
    paths = [str(about.parent), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


def write_held_out(path: Path, count: int) -> None:
    rows = [json.dumps({"messages": one.messages}) for one in fresh_prompts(count, HELD_OUT_SEED)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


# --- the road


def train_reward_model(folder: Path, seed: int, engine: str, judged: int) -> Path:
    """Judge and train as the quickstart does, on its first prompts."""
    prompts = json.dumps([{"path": str(PROMPTS), "limit": judged}])
    sets = [f"output={folder}", "name=classic", f"engine.kind={engine}", "pairs.critiques=none", f"prompts={prompts}"]
    rlaif("generate", "--config", "quickstart.yaml", "--json", *[flag for text in sets for flag in ("--set", text)])
    flags = ["--config", "quickstart-reward.yaml", "--data", str(folder / "runs" / "classic" / "dataset")]
    flags += ["--output", str(folder / "reward"), "--set", f"loop.seed={seed}", "--anew", "--json"]
    rlaif("train", "reward", *flags)
    print(
        f"reward model: right on {eval_accuracy(folder / 'reward'):.1%} of held-out pairs", file=sys.stderr, flush=True
    )
    return folder / "reward"


def eval_accuracy(folder: Path) -> float:
    """The last one in a training's log; of a training that was finished before, the command's own figures have none."""
    lines = map(json.loads, (folder / "training" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return float([line["eval_accuracy"] for line in lines if "eval_accuracy" in line][-1])


def ppo_settings(folder: Path, name: str, reward_model: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    is_hacked = name != "ppo"
    return {
        "model": "tiny-policy",
        "prompts": [{"path": str(PROMPTS)}],
        "output": str(folder / name),
        "max_length": 512,
        "reward": [{"kind": "model", "path": str(reward_model)}],
        "shape": {"unended": -3.0},
        "iterations": chosen.hacked_updates if is_hacked else chosen.updates,
        "rollout": {"prompts": chosen.answers, "max_new_tokens": 100},
        "kl": {"coefficient": 0.0 if is_hacked else chosen.coefficient},
        "epochs": 2,
        "minibatches": 4,
        "value": "shared",
        "lam": 0.97,
        "watch": {
            "stop": name == "watched",
            "held_out_every": 2,
            "held_out": {
                "prompts": [{"path": str(folder / "held-out.jsonl")}],
                "check": {"kind": "python", "name": CHECKER},
            },
        },
        "loop": {
            "seed": chosen.seed,
            "save_every": 10,
            "optimiser": {
                "learning_rate": chosen.hacked_rate if is_hacked else chosen.rate,
                "schedule": "constant" if is_hacked else "linear",
                "warmup_share": 0.1,
            },
        },
    }


def train(folder: Path, name: str, reward_model: Path, chosen: argparse.Namespace) -> Trained:
    config = folder / f"{name}.yaml"
    config.write_text(write_yaml(ppo_settings(folder, name, reward_model, chosen)), encoding="utf-8")
    began = time.perf_counter()
    said = rlaif("train", "ppo", "--config", str(config), "--anew", "--json", expected=(0, STOPPED))
    seconds = round(time.perf_counter() - began, 1)
    shares = json.loads(rlaif("tiny", "shares", str(folder / name), "--prompts", str(chosen.shares), "--json"))
    return Trained(name, list(read_log(folder / name)), json.loads(said), shares, seconds)


def read_log(folder: Path) -> Iterator[Reading]:
    """The watch's readings, from the run's log. Its lines count updates from 1, readings from 0."""
    names = [one.name for one in fields(Reading) if one.name not in ("step", "each")]
    for line in (folder / "training" / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        if "watch_kl" in one:
            found = {name: one[f"watch_{name}"] for name in names if f"watch_{name}" in one}
            yield Reading(step=one["step"] - 1, **found)


# --- what is shown


def told(one: Trained) -> str:
    shares = one.shares
    lines = [
        f"\n{one.name}: {shares['num_answers']} answers to {shares['num_prompts']} prompts; KL "
        f"{figure(shares['kl_nats_per_answer'], '.1f')} nats per answer; {len(one.readings)} updates, {one.seconds} s"
    ]
    for part in shares["principles"]:
        asks = part["property"] if part["wanted"] else f"not {part['property']}"
        ends = " → ".join(figure(part[name], "6.1%", has_interval=False) for name in ("before", "after"))
        mark = "risen" if part["has_risen"] else "not shown"
        lines.append(f"  {part['id']:14} {asks:14} {ends}  change {figure(part['change'], '+.1%')}  {mark}")
    for name in ("ended_by_themselves", "sentences_of_the_world", "mean_words"):
        lines.append(f"  {name}: {shares[name]['before']:.3f} → {shares[name]['after']:.3f}")
    return "\n".join([*lines, *told_course(one)])


def figure(found: Mapping[str, Any], form: str, *, has_interval: bool = True) -> str:
    """`value (low to high)`; what is not defined (the KL of a policy that never moved) as `–`, with the reason."""
    ends = [found["value"], *((found["low"], found["high"]) if has_interval else ())]
    if any(end is None for end in ends):
        shown = "–" if found["value"] is None else f"{found['value']:{form}}"
        return f"{shown} ({found['because']})"
    value, *interval = (f"{end:{form}}" for end in ends)
    return f"{value} ({' to '.join(interval)})" if interval else value


def told_course(one: Trained) -> Iterator[str]:
    """Reward, KL and held-out score on the way, and what the watch said."""
    step = max(1, len(one.readings) // 10)
    for reading in [*one.readings[::step], one.readings[-1]]:
        held_out = "" if reading.held_out is None else f", as asked {reading.held_out:.3f}"
        yield f"  update {reading.step:3}: reward {reading.reward:+.2f}, KL {reading.kl:6.1f}{held_out}"
    best = max(one.scored, key=lambda reading: reading.held_out or 0.0)
    yield f"  as asked, held out: best {best.held_out:.3f} at update {best.step} (KL {best.kl:.1f})"
    for alarm in one.ended["alarms"]:
        yield f"  alarm at update {alarm['step']} ({alarm['rule']}, good until {alarm['good_until']}): {alarm['why']}"
    yield f"  {one.ended['stopped'] or 'the watch stopped nothing'}"


class Quick(argparse.Action):
    """Sets all sizes at once."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        for name, value in QUICK.items():
            setattr(namespace, name, value)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("folder", type=Path, help="where everything goes; a second call repeats nothing finished")
    found.add_argument("--runs", nargs="*", choices=RUNS, default=RUNS)
    found.add_argument("--reward-model", type=Path, help="one that the quickstart made, in place of a new one")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--answers", type=int, default=64, help="per update")
    found.add_argument("--updates", type=int, default=40)
    found.add_argument("--coefficient", type=float, default=0.05, help="of the KL, per nat")
    found.add_argument("--rate", type=float, default=2e-4)
    found.add_argument("--hacked-updates", type=int, default=60)
    found.add_argument("--hacked-rate", type=float, default=4e-4)
    found.add_argument("--held-out", type=int, default=64, help="prompts of the held-out score")
    found.add_argument("--shares", type=int, default=120, help="prompts of the measurement, 4 answers each")
    found.add_argument("--engine", default="vllm", help="what runs judge and policy in `generate`: vllm, transformers")
    found.add_argument("--judged", type=int, default=200, help="prompts that are judged for the reward model")
    found.add_argument("--quick", action=Quick, nargs=0, help="all steps at a small scale; before flags that differ")
    found.add_argument("--json", action="store_true")
    return found


def main() -> int:
    chosen = parser().parse_args()
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    install_checker(folder)
    write_held_out(folder / "held-out.jsonl", chosen.held_out)
    given = chosen.reward_model
    reward_model = given.resolve() if given else train_reward_model(folder, chosen.seed, chosen.engine, chosen.judged)
    found = []
    for name in chosen.runs:
        found.append(train(folder, name, reward_model, chosen))
        print(told(found[-1]), file=sys.stderr if chosen.json else sys.stdout, flush=True)
    done = [name for name in RUNS if (folder / name / "training" / "metrics.jsonl").exists()]
    write_frontier(folder / "frontier", {name: points_of(list(read_log(folder / name))) for name in done})
    print(json.dumps([asdict(one) for one in found]) if chosen.json else f"\nfrontier: {folder}/frontier.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
