"""Are planted biases found again? How often the judge card's 95 % intervals hold the truth, on simulated judges.

    python -m benchmarks.judge_bias [--runs 500] [--prompts 60] [--json] [--by-pair]

A run is a judge with biases of known size (`rlaif.engines.leaning.Bias`, the settings of the scripted engine: the same
sum, over arrays instead of texts) on 60 prompts with 4 answers each, all 6 pairs in both orders. Answers differ in
worth, length, repetition, markdown, lists and family; the judge has opinions of its own about pairs, and prompts differ
in how far place and length sway it, so that rows of one prompt are alike. The figures are computed by the card's own
functions.

Truth: what `Bias` says, for everything on the log-odds; for rates and logistic coefficients, which have no closed form,
the same figure over a population of 40,000 prompts. Target: each interval covers in 93 to 97 % of 500 runs. By chance
alone 500 runs of an exact 95 % interval lie between 93 and 97 % in 95 of 100 cases. `--by-pair` takes every pair for
independent, to see what clustering by prompt is worth.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy import special

from rlaif.engines.leaning import Bias
from rlaif.evaluate.judge_card.figures import FLOOR, OWN, group_of, position_figures, style_figures
from rlaif.evaluate.judge_card.verdicts import Verdicts
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import Estimate, FloatArray, IntArray
from rlaif.numbers.flips import flip_measures
from rlaif.numbers.intervals import estimates

PLANTED = Bias(position=0.5, length=0.3, verbosity=2.0, markdown=0.2, lists=-0.25, own=0.4)
SPREAD = Bias(position=0.4, length=0.2)  # between prompts, standard deviations
WORTH, OPINION, NOISE = 1.2, 0.5, 0.2  # of answers, of the judge about a pair, of one request: standard deviations
ANSWERS = 4
REPETITION = 0.3  # mean share of words said before
SAID_TWICE = PLANTED.length + PLANTED.verbosity * (1 - REPETITION) / 2  # what saying an answer twice is worth
POPULATION = 40_000  # prompts
TARGET = (0.93, 0.97)
RATES = (
    "swap_consistency",
    "same_position",
    "same_position_first",
    "clear",
    "same_position_clear",
    "first_slot_log_odds",
)


@dataclass(frozen=True, eq=False)
class Simulated:
    """One judge's verdicts, and those on pairs before and after an answer was said twice."""

    verdicts: Verdicts
    own: FloatArray
    before: FloatArray
    after: FloatArray


def answers(rng: np.random.Generator, prompts: int) -> dict[str, FloatArray]:
    """Styles of (prompts, 4) answers, alike within a prompt; two of four are of the judge's family."""
    shape = (prompts, ANSWERS)
    length = rng.normal(9.0, 0.6, (prompts, 1)) + rng.normal(0.0, 0.7, shape)
    marks = rng.poisson(5.0, shape) * (rng.random(shape) < 0.5)
    items = rng.integers(2, 8, shape) * (rng.random(shape) < 0.35)
    return {
        "length": length,
        "verbosity": np.clip(REPETITION + 0.06 * (length - 9.0) + rng.normal(0.0, 0.08, shape), 0.0, 0.9),
        "markdown": np.log2(1.0 + marks),
        "lists": np.log2(1.0 + items),
        OWN: rng.permuted(np.tile([1.0, 1.0, 0.0, 0.0], (prompts, 1)), axis=1),
    }


def differences(one: dict[str, FloatArray], pairs: tuple[IntArray, IntArray]) -> dict[str, FloatArray]:
    x, y = pairs
    return {name: (values[:, x] - values[:, y]).reshape(-1) for name, values in one.items()}


def simulate(rng: np.random.Generator, prompts: int, *, is_by_pair: bool = False) -> Simulated:
    """All pairs of every prompt's answers, judged in both orders."""
    pairs = np.triu_indices(ANSWERS, 1)
    per_prompt = len(pairs[0])
    style = answers(rng, prompts)
    worth = differences({"worth": rng.normal(0.0, WORTH, (prompts, ANSWERS))}, pairs)["worth"]
    difference = differences(style, pairs)
    lean = {
        name: np.repeat(rng.normal(0.0, getattr(SPREAD, name), prompts), per_prompt) for name in ("position", "length")
    }
    tastes = Bias(
        length=PLANTED.length + lean["length"],
        **{name: getattr(PLANTED, name) for name in ("verbosity", "markdown", "lists", OWN)},
    )
    rows = prompts * per_prompt
    for_x = worth + tastes.log_odds(difference) + rng.normal(0.0, OPINION, rows)
    place = PLANTED.position + lean["position"]
    first, second = (for_x + sign * place + rng.normal(0.0, NOISE, rows) for sign in (1, -1))
    names = [f"{n}" for n in range(rows)] if is_by_pair else [f"{n // per_prompt}" for n in range(rows)]
    before, after = restated(rng, style, for_x[::per_prompt], lean["length"][::per_prompt])
    return Simulated(
        verdicts_from(names, special.expit(first), special.expit(second), difference),
        difference[OWN],
        before,
        after,
    )


def restated(
    rng: np.random.Generator, style: dict[str, FloatArray], odds: FloatArray, lean: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The first pair of every prompt before and after its first answer is said twice: one doubling, and half of what
    was new in it is said again."""
    told = (1 - style["verbosity"][:, 0]) / 2
    change = Bias(length=PLANTED.length + lean, verbosity=PLANTED.verbosity).log_odds(
        {"length": 1.0, "verbosity": told}
    )
    noise = rng.normal(0.0, NOISE, (2, len(odds)))
    return special.expit(odds + noise[0]), special.expit(odds + change + noise[1])


def verdicts_from(
    prompts: list[str], first: FloatArray, second: FloatArray, difference: dict[str, FloatArray]
) -> Verdicts:
    rows = len(first)
    probability = (first + second) / 2
    return Verdicts(
        principles=("simulated",),
        pairs=tuple(map(str, range(rows))),
        prompts=tuple(prompts),
        asked=np.ones((rows, 1), dtype=bool),
        shown_first=first[:, None],
        shown_second=second[:, None],
        probability=probability[:, None],
        label=probability,
        styles={name: column for name, column in difference.items() if name != OWN},
        policies=((None, None),) * rows,
        reasons=({},),
    )


def measured(one: Simulated, *, num_resamples: int) -> dict[str, tuple[Estimate, float]]:
    """Every figure by name, with its typical difference (1 where it is in units of its own)."""
    group = group_of(one.verdicts, 0, one.own)
    position = position_figures(group, num_resamples=num_resamples)
    found = {name: (position[name], 1.0) for name in RATES}
    for name, effect in style_figures(group).items():
        typical = effect.typical or 1.0
        found |= {f"{name}, log-odds": (effect.log_odds, typical), f"{name}, logistic": (effect.logistic, typical)}
    prompts = sorted(set(one.verdicts.prompts), key=int)[: len(one.before)]
    bootstrap = cluster_bootstrap(np.array(prompts), num_resamples=num_resamples)
    flips = estimates(bootstrap, flip_measures(one.before, one.after, FLOOR))
    return found | {f"restated: {name}": (figure, 1.0) for name, figure in flips.items()}


def truths(seed: int) -> dict[str, float]:
    """Per unit of each style. What `Bias` says where it says it, and a large population where it does not."""
    population = simulate(np.random.default_rng([seed, 1]), POPULATION)
    known = {name: figure.value / typical for name, (figure, typical) in measured(population, num_resamples=1).items()}
    known |= {f"{name}, log-odds": getattr(PLANTED, name) for name in ("length", "verbosity", "markdown", "lists", OWN)}
    return known | {"first_slot_log_odds": PLANTED.position, "restated: shift": SAID_TWICE}


def coverage(
    runs: int, prompts: int, *, seed: int = 0, is_by_pair: bool = False, num_resamples: int = 999
) -> list[dict]:
    """One row per figure: its truth, its mean over the runs, and the share of runs whose interval holds the truth."""
    rng = np.random.default_rng([seed, 0])
    held: defaultdict[str, list[bool]] = defaultdict(list)
    values: defaultdict[str, list[float]] = defaultdict(list)
    truth = truths(seed)
    for _ in range(runs):
        one = simulate(rng, prompts, is_by_pair=is_by_pair)
        for name, (figure, typical) in measured(one, num_resamples=num_resamples).items():
            known = isinstance(figure, Estimate) and figure.low is not None and figure.high is not None
            held[name].append(known and figure.low <= truth[name] * typical <= figure.high)
            values[name].append(figure.value / typical if known else np.nan)
    return [
        {
            "figure": name,
            "truth": float(truth[name]),
            "mean": float(np.nanmean(values[name])),
            "spread": float(np.nanstd(values[name])),
            "coverage": float(np.mean(own)),
            "runs": len(own),
        }
        for name, own in held.items()
    ]


def table(rows: list[dict]) -> str:
    lines = [f"{'figure':34}{'truth':>9}{'mean':>9}{'sd':>8}{'covered':>9}   target {TARGET[0]:.0%} to {TARGET[1]:.0%}"]
    for row in rows:
        missed = "" if TARGET[0] <= row["coverage"] <= TARGET[1] else "   missed"
        numbers = f"{row['truth']:9.3f}{row['mean']:9.3f}{row['spread']:8.3f}{row['coverage']:9.1%}"
        lines.append(f"{row['figure']:34}{numbers}{missed}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by-pair", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = coverage(options.runs, options.prompts, seed=options.seed, is_by_pair=options.by_pair)
    print(json.dumps(rows, indent=2) if options.json else table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
