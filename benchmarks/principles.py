"""Is the right principle found? Simulated judges and simulated people whose principles' weights are known.

    python -m benchmarks.principles [--runs 200] [--pairs 500] [--json]
    python -m benchmarks.principles --speed                # seconds at 1,000 and 100,000 pairs

Nothing here was said by a person: *people* are simulated from log-odds that are a weighted sum of the principles'
verdicts, with luck that the pairs of one prompt share (a Gaussian copula, so that each single vote still follows its
odds). Two pairs to a prompt, one vote each, a fifth of all verdicts silent. Measured:

- order: Kendall's τ between the known weights and `people_weight` of six principles; target 0.9 at 500 pairs.
- harm: how often a principle that people want the other way round comes first of eight; target 95 % of 200 runs. And
  how often `suggest` then edits it first, and how often its interval holds the change that the edit makes among 100,000
  other pairs.
- nothing: people toss coins, so no edit changes anything. How often `suggest` offers one; target at most 5 %.
- intervals: how often those of `people_weight` hold the weights; target 93 to 97 %.
"""

import argparse
import json
import time

import numpy as np
from scipy import special, stats

from rlaif.evaluate.principles.actions import Surroundings, changed_part
from rlaif.evaluate.principles.suggest import Suggestion, suggest
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import Estimate
from rlaif.numbers.held_out import simultaneous
from rlaif.numbers.principle_figures import principle_figures
from rlaif.numbers.weighted_votes import WeightedVotes, changes_of_agreement

KNOWN = np.array([2.0, 1.6, 1.2, 0.8, 0.4, 0.0])  # what a typical verdict is worth to people, in log-odds
HARMFUL = np.array([-0.8, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 0.4])
SILENT = 0.2
POPULATION = 100_000
TARGETS_S = {1_000: 2.0, 100_000: 30.0}


def simulate(
    rng: np.random.Generator, pairs: int, worth: np.ndarray, weights: np.ndarray | None = None, luck: float = 0.5
) -> WeightedVotes:
    """A simulated judge's verdicts, and simulated people to whom a typical verdict of each principle is worth so much.

    Verdicts on the pairs of a prompt are alike by a half. `luck` is the correlation of people's luck within a prompt.
    """
    prompts = np.arange(pairs) // 2
    shape = (pairs, len(worth))
    odds = np.sqrt(0.5) * (rng.normal(size=(prompts[-1] + 1, len(worth)))[prompts] + rng.normal(size=shape))
    heard = rng.random(shape) > SILENT
    typical = np.where(heard, odds, 0.0) / np.sqrt(1 - SILENT)
    drawn = np.sqrt(luck) * rng.normal(size=prompts[-1] + 1)[prompts] + np.sqrt(1 - luck) * rng.normal(size=pairs)
    return WeightedVotes(
        names=tuple(f"principle-{place}" for place in range(len(worth))),
        probabilities=np.where(heard, special.expit(odds), np.nan),
        weights=np.ones(len(worth)) if weights is None else weights,
        people=(special.ndtr(drawn) < special.expit(typical @ worth)).astype(float),
        codes=prompts,
    )


def alone(votes: WeightedVotes) -> Surroundings:
    """Nothing is known but the votes."""
    return Surroundings(tags={}, longer=np.zeros(len(votes.people)), limits={})


def order_run(seed: int, pairs: int, num_resamples: int = 500) -> dict[str, float]:
    votes = simulate(np.random.default_rng([1, seed]), pairs, KNOWN)
    found = principle_figures(votes, num_resamples=num_resamples)
    weights = [found.by_principle[name]["people_weight"] for name in votes.names]
    values = [one.value if isinstance(one, Estimate) else np.nan for one in weights]
    worth = [found.by_principle[name]["worth"].value for name in votes.names]
    held = [one.low <= known <= one.high for one, known in zip(weights, KNOWN, strict=True)]
    tau = float(stats.kendalltau(KNOWN, values).statistic)
    return {
        "tau": tau,
        "tau_at_least_0.9": float(tau >= 0.9),
        "tau_of_worth": float(stats.kendalltau(KNOWN, worth).statistic),
        "weight_in_interval": float(np.mean(held)),
    }


def harm_run(seed: int, pairs: int, num_resamples: int = 500) -> dict[str, float]:
    votes = simulate(np.random.default_rng([2, seed]), pairs, HARMFUL)
    found = principle_figures(votes, num_resamples=num_resamples)
    offered = suggest(votes, alone(votes), num_resamples=num_resamples)
    run = {
        "harmful_first": float(found.order[0] == votes.names[0]),
        "edited_first": float(bool(offered.edits) and offered.edits[0].action.principle == votes.names[0]),
        "edits": float(len(offered.edits)),
    }
    if offered.edits:
        run["change_in_interval"] = float(_holds(offered.edits[0], seed))
    return run


def _holds(one: Suggestion, seed: int) -> bool:
    """Whether the interval holds what the edit does among many other pairs."""
    many = simulate(np.random.default_rng([3, seed]), POPULATION, HARMFUL)
    place = many.names.index(one.action.principle)
    part = many.parts[:, place]
    changed = changed_part(one.action, many.odds[:, place], part, alone(many))
    change = changes_of_agreement(many, many.sums - part + changed).mean()
    return bool(one.predicted.low <= change <= one.predicted.high)


def nothing_run(seed: int, pairs: int, num_resamples: int = 500) -> dict[str, float]:
    votes = simulate(np.random.default_rng([4, seed]), pairs, np.zeros(8))
    offered = suggest(votes, alone(votes), num_resamples=num_resamples)
    return {"anything_offered": float(bool(offered.edits or offered.rewordings))}


RUNS = {"order": order_run, "harm": harm_run, "nothing": nothing_run}


def measure(runs: int, pairs: int) -> dict[str, dict[str, float]]:
    """The mean of every figure over so many runs."""
    found: dict[str, dict[str, float]] = {}
    for name, run in RUNS.items():
        every = [run(seed, pairs) for seed in range(runs)]
        keys = dict.fromkeys(key for one in every for key in one)
        found[name] = {key: float(np.mean([one[key] for one in every if key in one])) for key in keys}
    return found


def seconds(pairs: int, principles: int = 15) -> dict[str, float]:
    """What the section of a comparison, and suggesting edits, take."""
    votes = simulate(np.random.default_rng(pairs), pairs, np.linspace(-0.3, 1.0, principles))
    taken = {}
    begun = time.perf_counter()
    bootstrap = cluster_bootstrap(votes.codes)
    principle_figures(votes, bootstrap=bootstrap)
    simultaneous(bootstrap, changes_of_agreement(votes, votes.sums[:, None] - votes.parts), votes.counted)
    taken["section"] = time.perf_counter() - begun
    begun = time.perf_counter()
    suggest(votes, alone(votes))
    taken["suggest"] = time.perf_counter() - begun
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.speed:
        results = {str(pairs): seconds(pairs) for pairs in TARGETS_S}
    else:
        results = measure(arguments.runs, arguments.pairs)
    if arguments.json:
        print(json.dumps(results))
        return
    for name, figures in results.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
