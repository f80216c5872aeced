"""How near fewer comparisons come to the full round-robin: Kendall's τ of Bradley–Terry strengths, by schedule.

    python -m benchmarks.tournaments [--json] [--runs 400] [--sizes 4 8 16]
    python -m benchmarks.tournaments --labels outputs/runs/NAME/labels.parquet

The judges are simulated: an answer has a strength drawn from a normal distribution, and the judge's log-odds for a
pair are the difference of the two plus that judge's own opinion of the pair, normal too and the same however often it
is asked. `noise` is the spread of these opinions over the spread of strengths: at 0 the judge ranks, at 1 the pairs
matter as much as the answers. A `hard` judge throws a coin of that probability once per pair. With --labels the
schedules replay the pairs of a real run instead (pairs.rule all or not: every judged pair is in that file), for the
prompts whose answers were all compared with each other.

`upsets` says how noisy the judge looks from outside: the share of pairs of the round-robin whose own outcome names
the answer that the round-robin as a whole puts lower. Target: τ of at least 0.95 at half the comparisons.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from rlaif.feedback.schedule import (
    NextRound,
    Outcomes,
    half_of_all_pairs,
    play,
    random_opponents,
    ring,
    standings,
    swiss,
)
from rlaif.numbers.bradley_terry import RIDGE

TARGET = 0.95
SPREAD = 1.5  # standard deviation of simulated strengths, in log-odds: two answers differ by 2.1 on average
NOISES = (0.1, 0.25, 0.5, 1.0)
FLOOR = 0.01


def schedules(n: int, budget: int, seed: str) -> dict[str, NextRound]:
    """The schedules that spend `budget` comparisons, or as near below as their form allows."""
    k = 2 * budget // n
    found: dict[str, NextRound] = {"swiss": partial(swiss, max_comparisons=budget)}
    if k >= 1:
        found["k random"] = partial(random_opponents, k=k, seed=seed)
    if n <= budget:
        found["ring"] = ring
    return found


def simulated_judge(rng: np.random.Generator, n: int, noise: float, kind: str) -> Outcomes:
    """All pairs of n answers; the ids are drawn anew each time, because schedules seat answers by their ids."""
    ids = [f"{number:012x}" for number in rng.integers(2**40, size=n)]
    strengths = rng.normal(scale=SPREAD, size=n)
    outcomes: dict[tuple[str, str], float] = {}
    for (i, x), (j, y) in combinations(sorted(enumerate(ids), key=lambda one: one[1]), 2):
        log_odds = strengths[i] - strengths[j] + rng.normal(scale=SPREAD * noise)
        probability = 1 / (1 + math.exp(-log_odds))
        if kind == "hard":
            probability = float(rng.random() < probability)
        outcomes[x, y] = min(max(probability, FLOOR), 1 - FLOOR)
    return outcomes


def ranking(outcomes: Outcomes, ids: list[str]) -> list[float]:
    fitted = standings(ids, outcomes, ridge=RIDGE)
    return [fitted[name] for name in ids]


def agreement(outcomes: Outcomes, next_round: NextRound) -> tuple[float, int, int]:
    """(τ against the full round-robin, comparisons spent, rounds) of one schedule on one judge."""
    ids = sorted({name for pair in outcomes for name in pair})
    tournament = play(ids, outcomes, next_round)
    spent = {pair: outcomes[pair] for pair in tournament.pairs}
    tau = kendalltau(ranking(outcomes, ids), ranking(spent, ids)).statistic
    return float(tau), len(spent), len(tournament.rounds)


def upsets(outcomes: Outcomes) -> float:
    """The share of pairs whose own outcome names the answer that the whole round-robin puts lower."""
    ids = sorted({name for pair in outcomes for name in pair})
    strength = dict(zip(ids, ranking(outcomes, ids), strict=True))
    return float(np.mean([(p - 0.5) * (strength[x] - strength[y]) < 0 for (x, y), p in outcomes.items()]))


def measure(judges: Iterable[Outcomes], share: float) -> list[dict[str, float | int | str]]:
    """One row per schedule: mean τ with a 95 % interval over the judges, comparisons and rounds."""
    taus: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    noisy = []
    num_answers = 0
    for number, outcomes in enumerate(judges):
        num_answers = len({name for pair in outcomes for name in pair})
        full = len(outcomes)
        budget = half_of_all_pairs(num_answers) if share == 0.5 else round(share * full)
        noisy.append(upsets(outcomes))
        for name, next_round in schedules(num_answers, budget, seed=str(number)).items():
            taus[name].append(agreement(outcomes, next_round))
    rows: list[dict[str, float | int | str]] = []
    for name, found in taus.items():
        values = np.array([tau for tau, _, _ in found if not math.isnan(tau)])
        rows.append(
            {
                "answers": num_answers,
                "schedule": name,
                "comparisons": max(spent for _, spent, _ in found),
                "of": num_answers * (num_answers - 1) // 2,
                "rounds": max(rounds for _, _, rounds in found),
                "tau": float(values.mean()),
                "half_width": float(1.96 * values.std(ddof=1) / math.sqrt(len(values))),
                "n": len(values),
                "upsets": float(np.mean(noisy)),
            }
        )
    return rows


def simulate(n: int, noise: float, kind: str, runs: int, share: float) -> list[dict[str, float | int | str]]:
    rng = np.random.default_rng([n, round(noise * 1000), kind == "hard"])
    judges = (simulated_judge(rng, n, noise, kind) for _ in range(runs))
    return [{"judge": f"simulated {kind}, noise {noise:g}", **row} for row in measure(judges, share)]


def replayed(path: Path) -> dict[int, list[Outcomes]]:
    """The complete round-robins of a run's labels.parquet, by number of answers."""
    import pyarrow.parquet

    by_prompt: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    columns = ["prompt_id", "x_id", "y_id", "probability_x"]
    for row in pyarrow.parquet.read_table(path, columns=columns).to_pylist():
        if row["probability_x"] is not None:
            by_prompt[row["prompt_id"]][row["x_id"], row["y_id"]] = row["probability_x"]
    complete: dict[int, list[Outcomes]] = defaultdict(list)
    for outcomes in by_prompt.values():
        n = len({name for pair in outcomes for name in pair})
        if n >= 4 and len(outcomes) == n * (n - 1) // 2:
            complete[n].append(outcomes)
    return dict(complete)


def main() -> int:
    parser = argparse.ArgumentParser(description="Kendall's τ of fewer comparisons against the full round-robin.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=400, help="simulated judges per row")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 8, 16], help="answers per prompt")
    parser.add_argument("--share", type=float, default=0.5, help="comparisons spent, of a full round-robin")
    parser.add_argument("--labels", type=Path, help="a run's labels.parquet, to replay instead of simulating")
    options = parser.parse_args()
    rows: list[dict[str, float | int | str]] = []
    if options.labels:
        for _, judges in sorted(replayed(options.labels).items()):
            rows += [{"judge": "replayed", **row} for row in measure(judges, options.share)]
    else:
        for n in options.sizes:
            for kind, noise in [*(("soft", noise) for noise in NOISES), ("hard", 0.0)]:
                rows += simulate(n, noise, kind, options.runs, options.share)
    print(json.dumps(rows, indent=2) if options.json else table(rows))
    return 0


def table(rows: list[dict[str, float | int | str]]) -> str:
    lines = [f"Kendall's τ against the full round-robin, mean and 95 % interval. Target: {TARGET}.", ""]
    lines.append(f"{'judge':28} {'answers':>7} {'schedule':10} {'compared':>10} {'rounds':>6} {'upsets':>7}  τ")
    for row in rows:
        reached = "reached" if row["tau"] >= TARGET else ""
        compared = f"{row['comparisons']}/{row['of']}"
        lines.append(
            f"{row['judge']:28} {row['answers']:>7} {row['schedule']:10} {compared:>10} {row['rounds']:>6}"
            f" {row['upsets']:>7.1%}  {row['tau']:.3f} ± {row['half_width']:.3f} (n={row['n']}) {reached}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
