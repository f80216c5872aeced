"""Are figures of a draw those of all pairs, and is what `rlaif labels plan` says enough? Simulated, all repetitions.

    python -m benchmarks.label_draws [--draws 10000] [--plans 200] [--json]

Draws: 1,200 pairs of 400 prompts whose value goes with their chance; 200 are drawn evenly, by strata, or by size, and
the mean of all is estimated by Horvitz-Thompson, by Hájek, and as it stands. Bias in standard errors of the simulation;
share of 95 % intervals that hold the truth, which is that of these pairs, or (`beyond`: new prompts every time) that
of all prompts. Plans: a pilot of 600 prompts with unequal numbers of pairs, the plan made from it, and the half-width
that so many pairs then have in the clustered bootstrap, over the one that was asked for. Targets: bias within 4
standard errors, coverage 93 to 97 %, half-widths within 10 %.
"""

import argparse
import json

import numpy as np

from rlaif.labels.planning import basis_of_pilot, needs
from rlaif.labels.votes import Found, make_vote
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.inclusion import chances_by_size, mixed_sizes, pivotal_draw, stratified_draw
from rlaif.numbers.intervals import estimate, mean_measure
from rlaif.numbers.weighted_means import as_share, hajek, hajek_beyond, horvitz_thompson
from rlaif.records import Message

DESIGNS = ("even", "stratified", "sized")


def world(generator, prompts=400, pairs=3):
    """Pairs whose value goes with their size: large ones are seldom 1; and pairs of a prompt are alike."""
    size = generator.gamma(2.0, 0.5, prompts * pairs) + 0.05
    level = np.clip(0.9 - 0.25 * size + generator.normal(0, 0.15, prompts).repeat(pairs), 0.02, 0.98)
    values = (generator.random(prompts * pairs) < level).astype(float)
    return values, size, np.arange(prompts).repeat(pairs)


def drawn_by(design, size, generator, number):
    if design == "stratified":
        strata = np.digitize(size, [0.5, 1.0, 1.5])
        mask, chances = stratified_draw(strata, number, generator)
        return mask, chances, strata
    chances = chances_by_size(mixed_sizes(size if design == "sized" else np.ones(len(size)), 0.2), number)
    return pivotal_draw(chances, generator), chances, np.zeros(len(size), dtype=int)


def vote(prompt, number, rater, choice, kind="human", seconds=None):
    found = Found(
        prompt=(Message("user", f"Question {prompt}"),), first=f"yes {number}", second=f"no {number}", rater=rater,
        kind=kind, choice=choice, seconds=seconds, is_order_known=True,
    )  # fmt: skip
    return make_vote(found, source="")


def agreeing(generator, sizes, people):
    """Votes (N, R) that agree with the judge in 70 % of cases; prompts and pairs have rates of their own."""
    of_prompt = generator.beta(0.7 * 8, 0.3 * 8, len(sizes)).repeat(sizes)
    of_pair = generator.beta(of_prompt * 3, (1 - of_prompt) * 3)
    return (generator.random((len(of_pair), people)) < of_pair[:, None]).astype(float)


def sizes_of(generator, prompts):
    return generator.choice([1, 2, 6], size=prompts, p=[0.5, 0.3, 0.2])


def pilot(generator, prompts, people):
    sizes = sizes_of(generator, prompts)
    said = agreeing(generator, sizes, people)
    votes, row = [], 0
    for prompt, size in enumerate(sizes):
        for _ in range(size):
            votes.append(vote(prompt, row, "the judge", "first", "judge"))
            votes += [
                vote(prompt, row, f"r{rater}", "first" if agrees else "second", seconds=20.0)
                for rater, agrees in enumerate(said[row])
            ]
            row += 1
    return votes


def draw_figures(design: str, draws: int) -> dict[str, float]:
    """Bias in standard errors and coverage, of these pairs."""
    generator = np.random.default_rng(7)
    values, size, _ = world(generator)
    truth = values.mean()
    found: dict[str, list[float]] = {"ht": [], "hajek": [], "as_drawn": []}
    held = {"ht": 0, "hajek": 0}
    for _ in range(draws):
        mask, chances, strata = drawn_by(design, size, generator, 200)
        weighed = {
            "ht": horvitz_thompson(values[mask], chances[mask], len(values), strata=strata[mask]),
            "hajek": as_share(hajek(values[mask], chances[mask], strata=strata[mask])),
        }
        for name, figure in weighed.items():
            found[name].append(figure.value)
            held[name] += figure.low <= truth <= figure.high
        found["as_drawn"].append(values[mask].mean())
    shown = {"truth": float(truth)}
    for name, means in found.items():
        shown[f"{name}_bias"] = float(np.mean(means) - truth)
        shown[f"{name}_bias_se"] = float((np.mean(means) - truth) / (np.std(means) / np.sqrt(draws)))
    return shown | {f"{name}_coverage": count / draws for name, count in held.items()}


def beyond_figures(design: str, times: int) -> dict[str, float]:
    """Coverage of the rate of all prompts, with 150 new prompts every time."""
    generator = np.random.default_rng(11)
    truth = float(np.mean([world(generator, 4000)[0].mean() for _ in range(100)]))
    held, found = 0, []
    for _ in range(times):
        values, size, prompts = world(generator, 150)
        mask, chances, _ = drawn_by(design, size, generator, 300)
        figure = as_share(hajek_beyond(values[mask], chances[mask], prompts[mask]))
        found.append(figure.value)
        held += figure.low <= truth <= figure.high
    return {"truth": truth, "bias": float(np.mean(found) - truth), "coverage": held / times}


def plan_figures(people: int, wanted: float, plans: int) -> dict[str, float]:
    """Half-widths got over the one wanted: a new pilot for every ten plans."""
    generator, ratios = np.random.default_rng(people), []
    for start in range(0, plans, 10):
        basis = basis_of_pilot(pilot(generator, 600, 3))
        (need,) = needs(wanted, basis, (people,))
        for run in range(start, start + 10):
            sizes = sizes_of(generator, 3000)
            sizes = sizes[: int(np.searchsorted(sizes.cumsum(), need.pairs)) + 1]
            votes = agreeing(generator, sizes, people)
            boot = cluster_bootstrap(np.arange(len(sizes)).repeat(sizes), num_resamples=999, seed=run)
            figure = estimate(boot, mean_measure(votes.mean(axis=1)))
            ratios.append((figure.high - figure.low) / 2 / wanted)
    return {"mean": float(np.mean(ratios)), "low": float(np.min(ratios)), "high": float(np.max(ratios))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--plans", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = {f"draw/{design}": draw_figures(design, options.draws) for design in DESIGNS}
    figures |= {f"beyond/{design}": beyond_figures(design, options.draws // 2) for design in DESIGNS}
    figures |= {f"plan/{people}": plan_figures(people, 0.04, options.plans) for people in (1, 2, 3)}
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    for name, values in figures.items():
        print(name + "   " + "   ".join(f"{key} {value:.4f}" for key, value in values.items()))


if __name__ == "__main__":
    main()
