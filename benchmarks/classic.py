"""RLAIF the classic way on the bundled models: judge, pairs, reward model, PPO. Does every preferred property rise?

    python -m benchmarks.classic outputs/classic                       # one seed: an hour on two cores
    python -m benchmarks.classic outputs/classic --updates 30 --skip-hacked

Everything goes through the commands that people type: `rlaif generate` and `rlaif train reward` with the quickstart's
settings, `rlaif train ppo` on the same prompts, `rlaif tiny shares`. Reported is, for each of the six principles, the
share of answers that do as it asks before and after, by the grammar's ground truth (no judge, no reward model), on
prompts that nothing was trained on, with intervals, and the KL that it took.

Then the same without a KL and with a rate too high, as one should not: the reward is over-optimised. The watch only
notes there (`watch.stop: false`), so that the whole fall can be seen: `frontier.png` of both runs, the update at which
it would have stopped, and the shares at the end. Its held-out score is the judge's preference for the policy's answers
over those from before the training, on other prompts.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.alignment import rlaif
from rlaif.documents import write_yaml
from rlaif.train.rl.frontier import Point, write_frontier
from rlaif.train.tiny.shares import fresh_prompts

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT_SEED = 77  # `rlaif tiny shares` draws its prompts with other seeds


@dataclass
class Trained:
    """One PPO run: every update's figures, the alarms by update, and what `rlaif tiny shares --json` prints."""

    name: str
    metrics: list[dict[str, Any]]
    alarms: dict[str, int]
    shares: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def points(self) -> list[Point]:
        return [
            Point(one["step"], one["watch_kl"], one["watch_reward"], one.get("watch_held_out"))
            for one in self.metrics
            if "watch_kl" in one
        ]


def write_inputs(folder: Path, held_out: int) -> None:
    """The judge's settings for the held-out score, and its prompts."""
    rows = [json.dumps({"messages": one.messages}) for one in fresh_prompts(held_out, HELD_OUT_SEED)]
    (folder / "held-out.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def judged_pairs(folder: Path, engine: str) -> None:
    sets = [f"output={folder}", "name=classic", f"engine.kind={engine}", "pairs.critiques=none"]
    rlaif("generate", "--config", "quickstart.yaml", "--json", *[flag for text in sets for flag in ("--set", text)])


def reward_model(folder: Path, seed: int) -> float:
    flags = ["--config", "quickstart-reward.yaml", "--data", str(folder / "runs" / "classic" / "dataset")]
    flags += ["--output", str(folder / "reward"), "--set", f"loop.seed={seed}", "--anew", "--json"]
    told = json.loads(rlaif("train", "reward", *flags))
    return float(told["figures"]["eval_accuracy"])


def ppo_settings(folder: Path, name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    is_hacked = name == "hacked"
    return {
        "model": "tiny-policy",
        "prompts": [{"path": str(ROOT / "prompts" / "sets" / "tiny-world.jsonl")}],
        "output": str(folder / name),
        "max_length": 512,
        "reward": [{"kind": "model", "path": str(chosen.reward_model or folder / "reward")}],
        "shape": {"unended": -3.0},
        "iterations": chosen.hacked_updates if is_hacked else chosen.updates,
        "rollout": {"prompts": chosen.prompts, "max_new_tokens": 120},
        "kl": {"coefficient": 0.0} if is_hacked else {"coefficient": chosen.coefficient},
        "minibatches": 4,
        "epochs": 4,
        "value": "reward_model",
        "watch": {
            "stop": False,
            "held_out_every": 5,
            "held_out": {"prompts": [{"path": str(folder / "held-out.jsonl")}], "judge": str(folder / "judge.yaml")},
        },
        "loop": {
            "seed": chosen.seed,
            "save_every": 10,
            "optimiser": {"learning_rate": chosen.hacked_rate if is_hacked else chosen.rate},
        },
    }


def train(folder: Path, name: str, chosen: argparse.Namespace) -> Trained:
    seconds: dict[str, float] = {}
    config = folder / f"{name}.yaml"
    config.write_text(write_yaml(ppo_settings(folder, name, chosen)), encoding="utf-8")
    began = time.perf_counter()
    rlaif("train", "ppo", "--config", str(config), "--anew", "--json")
    seconds["ppo"] = round(time.perf_counter() - began, 1)
    log = (folder / name / "training" / "metrics.jsonl").read_text(encoding="utf-8")
    metrics = [json.loads(line) for line in log.splitlines()]
    alarms: dict[str, int] = {}
    for one in metrics:
        for key in one:
            if key.startswith("watch_alarm_"):
                alarms.setdefault(key.removeprefix("watch_alarm_"), one["step"])
    asked = ["tiny", "shares", str(folder / name), "--prompts", str(chosen.shares), "--json"]
    return Trained(name, metrics, alarms, json.loads(rlaif(*asked)), seconds)


def write_judge(folder: Path, engine: str) -> None:
    """The quickstart's judge, with a store of this benchmark's own."""
    from rlaif.documents import apply_sets, read_yaml
    from rlaif.errors import SettingsError

    sets = [f"output={folder}", f"engine.kind={engine}", f"constitution={ROOT / 'constitution' / 'small.yaml'}"]
    document = apply_sets(read_yaml(ROOT / "quickstart.yaml", SettingsError), sets)
    (folder / "judge.yaml").write_text(write_yaml(document.value), encoding="utf-8")


def told(one: Trained) -> str:
    """The table of one run."""
    shares = one.shares
    kl = shares["kl_nats_per_answer"]
    lines = [
        f"\n{one.name}: {shares['num_answers']} answers to {shares['num_prompts']} prompts; KL "
        f"{kl['value']:.1f} ({kl['low']:.1f} to {kl['high']:.1f}) nats per answer; {one.seconds}"
    ]
    for part in shares["principles"]:
        asks = part["property"] if part["wanted"] else f"not {part['property']}"
        before, after, change = (part[name] for name in ("before", "after", "change"))
        mark = "risen" if part["has_risen"] else "not shown"
        lines.append(
            f"  {part['id']:14} {asks:14} {before['value']:6.1%} → {after['value']:6.1%}  "
            f"{100 * change['value']:+5.1f} ({100 * change['low']:+.1f} to {100 * change['high']:+.1f}) points  {mark}"
        )
    for name in ("ended_by_themselves", "sentences_of_the_world", "mean_words"):
        lines.append(f"  {name}: {shares[name]['before']:.3f} → {shares[name]['after']:.3f}")
    first, last = one.points[0], one.points[-1]
    scored = [point for point in one.points if point.held_out is not None]
    best = max(scored, key=lambda point: point.held_out or 0.0)
    lines.append(f"  reward {first.reward:.2f} → {last.reward:.2f} at KL {last.kl:.1f}")
    lines.append(
        f"  held-out {scored[0].held_out:.3f}, best {best.held_out:.3f} at update {best.step} (KL {best.kl:.1f}), "
        f"last {scored[-1].held_out:.3f}"
    )
    lines.append(f"  the watch: {one.alarms or 'no alarm'}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything goes; a second call asks no judge twice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--prompts", type=int, default=64, help="answers per update")
    parser.add_argument("--coefficient", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--hacked-updates", type=int, default=120)
    parser.add_argument("--hacked-rate", type=float, default=5e-4)
    parser.add_argument("--held-out", type=int, default=64, help="prompts of the held-out score")
    parser.add_argument("--shares", type=int, default=120, help="prompts of the measurement, 4 answers each")
    parser.add_argument("--engine", default="vllm", help="what runs judge and policy in `generate`: vllm, transformers")
    parser.add_argument("--reward-model", type=Path, help="one that the quickstart made, in place of a new one")
    parser.add_argument("--skip-hacked", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    write_inputs(folder, chosen.held_out)
    write_judge(folder, chosen.engine)
    if chosen.reward_model is None:
        judged_pairs(folder, chosen.engine)
        print(f"reward model: right on {reward_model(folder, chosen.seed):.1%} of held-out pairs", flush=True)
    found = []
    for name in ["ppo"] if chosen.skip_hacked else ["ppo", "hacked"]:
        found.append(train(folder, name, chosen))
        print(told(found[-1]), flush=True)
    write_frontier(folder / "frontier", {one.name: one.points for one in found})
    print(f"\nfrontier: {folder}/frontier.png")
    if chosen.json:
        print(json.dumps([asdict(one) for one in found]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
