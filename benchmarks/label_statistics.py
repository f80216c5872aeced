"""How long all statistics of one judge against three people take, with their intervals, at 1,000 and 100,000 pairs.

    python -m benchmarks.label_statistics                  # both sizes, a minute
    python -m benchmarks.label_statistics --sizes 1000
    python -m benchmarks.label_statistics --json

Simulated labels: three people with ties and missing votes, a judge with probabilities, five models, three pairs to a
prompt, 2,000 resamples. Time is wall time of one process; targets are 5 s and 60 s.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from rlaif.numbers.accuracy import accuracy_measures
from rlaif.numbers.agreement import agreement_measures
from rlaif.numbers.alternative import advantage_measure, alternative_annotator_test
from rlaif.numbers.bootstrap import ClusterBootstrap, cluster_bootstrap
from rlaif.numbers.calibration import calibration_measures, equal_mass_bins, reliability_measures, towards_favourite
from rlaif.numbers.ceiling import ceiling_measures, majority, worth_measure
from rlaif.numbers.choices import FIRST, MISSING, SECOND, TIE, choices_of_probabilities, shares
from rlaif.numbers.dawid_skene import dawid_skene
from rlaif.numbers.effects import effects_of, excess_effects
from rlaif.numbers.intervals import Measure, estimates
from rlaif.numbers.mcnemar import clustered_mcnemar, sign_flip_p_value
from rlaif.numbers.panel import panel_measures
from rlaif.numbers.position import position_measures
from rlaif.numbers.prediction_powered import prediction_powered_mean
from rlaif.numbers.ranking import rank_agreement_measures, win_rate_measures
from rlaif.numbers.recalibration import fit_isotonic, fit_platt, out_of_fold

TARGETS_S = {1_000: 5.0, 100_000: 60.0}
MODELS = 5


def simulated(pairs: int) -> dict[str, np.ndarray]:
    """People's choices (N, 3), the judge's probabilities in both orders, models and three differences."""
    generator = np.random.default_rng(pairs)
    worth = generator.normal(size=pairs)
    people = np.where(worth[:, None] + generator.normal(size=(pairs, 3)) > 0, FIRST, SECOND)
    people[generator.random((pairs, 3)) < 0.1] = TIE
    people[generator.random((pairs, 3)) < 0.1] = MISSING
    noise = generator.normal(scale=0.5, size=(2, pairs))
    first = generator.integers(0, MODELS, pairs)
    return {
        "people": people,
        "orders": 1 / (1 + np.exp(-2 * worth - noise - np.array([[0.3], [-0.3]]))),
        "prompts": np.arange(pairs) // 3,
        "models": np.stack([first, (first + generator.integers(1, MODELS, pairs)) % MODELS]),
        "differences": generator.normal(size=(3, pairs)),
    }


def all_measures(boot: ClusterBootstrap, made: dict[str, np.ndarray]) -> dict[str, Measure]:
    """Every figure that goes through the resamples, for each way to take ties."""
    judge = made["orders"].mean(axis=0)
    measures: dict[str, Measure] = {}
    for ties in ("class", "half", "drop"):
        people, verdicts = shares(made["people"], ties), shares(choices_of_probabilities(judge, 0.05), ties)
        groups = {
            "panel": panel_measures(people),
            "accuracy": accuracy_measures(majority(people), verdicts),
            "ceiling": ceiling_measures(people, verdicts),
            **{f"person {place}": agreement_measures(people[:, place], verdicts) for place in range(3)},
            "others": {"worth": worth_measure(people, verdicts), "advantage": advantage_measure(people, verdicts)},
        }
        measures |= {f"{ties}/{group}/{name}": m for group, own in groups.items() for name, m in own.items()}
    share = share_of_people(made)
    said, came = towards_favourite(judge, share)
    bins = equal_mass_bins(said)
    measures |= calibration_measures(boot, said, came, bins) | reliability_measures(said, came, bins)
    measures |= position_measures(*made["orders"])
    measures |= {f"wins/{name}": m for name, m in win_rate_measures(*made["models"], judge, MODELS).items()}
    return measures | rank_agreement_measures(*made["models"], judge, share, MODELS)


def share_of_people(made: dict[str, np.ndarray]) -> np.ndarray:
    """The share of people for the first answer, ties one half; NaN without votes."""
    together = shares(made["people"], "half").sum(axis=1)
    given = together.sum(axis=1)
    return np.where(given > 0, together[:, 0] / np.maximum(given, 1), np.nan)


def steps(made: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    judge, share, prompts = made["orders"].mean(axis=0), share_of_people(made), made["prompts"]
    people, verdicts = shares(made["people"], "class"), shares(choices_of_probabilities(judge, 0.05), "class")
    half = shares(made["people"], "half")[:, :, 0]
    votes = np.where(made["people"] == MISSING, np.nan, half)
    right = [(majority(people) * shares(choices_of_probabilities(p, 0.05), "class")).sum(1) for p in made["orders"]]
    differences = dict(zip(("length", "markdown", "lists"), made["differences"], strict=True))
    few = np.where(np.arange(len(share)) % 10 == 0, share, np.nan)
    boot = cluster_bootstrap(prompts)
    return {
        "figures with bootstrap intervals": lambda: estimates(boot, all_measures(boot, made)),
        "alternative-annotator test": lambda: alternative_annotator_test(people, verdicts, prompts),
        "Dawid-Skene": lambda: dawid_skene(people),
        "McNemar, sign flips": lambda: (clustered_mcnemar(*right, prompts), sign_flip_p_value(*right, prompts)),
        "recalibration": lambda: [out_of_fold(judge, share, prompts, fit=fit) for fit in (fit_isotonic, fit_platt)],
        "effects of each rater": lambda: [effects_of(v, differences, prompts) for v in (judge, *votes.T)],
        "excess effects": lambda: excess_effects(judge, votes, differences, prompts),
        "prediction-powered": lambda: prediction_powered_mean(few, judge, prompts),
    }


def measure(pairs: int) -> dict[str, float]:
    made = simulated(pairs)
    taken = {}
    for name, step in steps(made).items():
        begun = time.perf_counter()
        step()
        taken[name] = time.perf_counter() - begun
    return {**taken, "all": sum(taken.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(TARGETS_S))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = {pairs: measure(pairs) for pairs in arguments.sizes}
    if arguments.json:
        print(json.dumps(results))
        return
    for pairs, taken in results.items():
        target = f", target {TARGETS_S[pairs]:g} s" if pairs in TARGETS_S else ""
        print(f"{pairs:,} pairs: {taken['all']:.2f} s{target}")
        for name, seconds in taken.items():
            print(f"  {seconds:8.2f} s  {name}")


if __name__ == "__main__":
    main()
