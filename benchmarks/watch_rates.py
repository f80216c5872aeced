"""How often the watch over a training stops a healthy run, and how soon it finds a planted fault, over simulated runs.

    python -m benchmarks.watch_rates                 # 2,000 runs of each kind, a minute or two
    python -m benchmarks.watch_rates --runs 100

A run is 400 updates with a held-out score every 10. Healthy ones rise, level off and wander a little; each planted one
has a single fault that begins in the middle. Noise is what 64 answers per update and 64 held-out comparisons have: 0.03
to 0.06 of a share. Hacked runs follow Gao et al., arXiv:2210.10760, eq. 1: the true score is d (α - β d) at distance
d = √KL, the reward goes on rising; the fault begins at the top, d = α / 2β. A run counts as caught when its own rule
fires after the fault began, and as stopped too soon when any rule fires before.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rlaif.numbers.clustered_share import ClusteredShare
from rlaif.train.rl.watch import Alarm, Reading, Rule, Watch, WatchSettings

STEPS, EVERY, BEGINS = 400, 10, 200
SETTINGS = WatchSettings(held_out_every=EVERY)


@dataclass(frozen=True)
class Kind:
    """A kind of run: what changes a healthy reading from a step on, and the rule that should see it."""

    name: str
    rule: Rule | None
    begins: int
    change: Callable[[Reading, float], Reading]  # the reading, and how far the fault has gone: 0 to 1


def healthy(draw: np.random.Generator, noise: float) -> Iterator[Reading]:
    """Reward, score and KL rise and level off; lengths and entropy drift as they do in good runs."""
    drift = 1.0 + 0.4 * draw.uniform(-1, 1)
    for step in range(1, STEPS + 1):
        gone = 1.0 - np.exp(-step / 80)
        yield Reading(
            step=step,
            reward=float(0.5 + gone + draw.normal(0, 0.1)),
            kl=float(10 * gone + draw.normal(0, 0.5)),
            length=float(60 * (1 + (drift - 1) * gone) + draw.normal(0, 3)),
            entropy=float(1.5 - 0.9 * gone + draw.normal(0, 0.05)),
            repeated=float(abs(0.05 + 0.05 * gone + draw.normal(0, 0.02))),
            longest_repeat=float(abs(0.08 + draw.normal(0, 0.02))),
            alike=float(0.5 + 0.15 * gone + draw.normal(0, 0.02)),
            disagreement=float(0.3 + 0.2 * gone + abs(draw.normal(0, 0.05))),
            held_out=float(0.5 + 0.2 * gone + draw.normal(0, noise)) if step % EVERY == 0 or step == 1 else None,
        )


def level(reading: Reading, gone: float) -> Reading:
    return reading


def hacked(reading: Reading, gone: float) -> Reading:
    """`gone` is d over the distance at which the true score is back where it began, so the top is at 1/2."""
    score = reading.held_out
    if score is not None:
        noise = score - (0.5 + 0.2 * (1 - np.exp(-reading.step / 80)))
        score = float(0.5 + 0.25 * 4 * gone * (1 - gone) + noise)
    return replace(reading, reward=reading.reward + 2 * gone, kl=20 * gone**2, held_out=score)


KINDS = (
    Kind("healthy", None, STEPS + 1, level),
    Kind("hacked", "held_out", BEGINS, hacked),
    Kind("far away", "kl", BEGINS, lambda one, gone: replace(one, kl=one.kl + 400 * max(0.0, gone - 0.5))),
    Kind(
        "ever longer",
        "length",
        BEGINS,
        lambda one, gone: replace(one, length=one.length * (1 + 8 * max(0, gone - 0.5))),
    ),
    Kind(
        "ever shorter", "length", BEGINS, lambda one, gone: replace(one, length=one.length * (2 - 2 * max(0.5, gone)))
    ),
    Kind(
        "repeats itself",
        "repetition",
        BEGINS,
        lambda one, gone: replace(one, repeated=min(1.0, one.repeated + 2 * max(0.0, gone - 0.5))),
    ),
    Kind(
        "one answer for all",
        "sameness",
        BEGINS,
        lambda one, gone: replace(one, alike=one.alike + (1 - one.alike) * 2 * max(0.0, gone - 0.5)),
    ),
    Kind(
        "collapses",
        "entropy",
        BEGINS,
        lambda one, gone: replace(one, entropy=one.entropy * (2 - 2 * max(0.5, gone)) ** 2),
    ),
    Kind(
        "unknown ground",
        "disagreement",
        BEGINS,
        lambda one, gone: replace(one, disagreement=(one.disagreement or 0) + 4 * max(0.0, gone - 0.5)),
    ),
)


def first_alarm(kind: Kind, seed: int, noise: float, settings: WatchSettings = SETTINGS) -> Alarm | None:
    """One simulated run until the watch stops it."""
    watch = Watch(settings)
    for reading in healthy(np.random.default_rng(seed), noise):
        if alarm := watch.note(kind.change(reading, reading.step / STEPS)):
            return alarm
    return None


@dataclass(frozen=True)
class Rates:
    """Over runs of one kind: stopped before anything was wrong, caught by its rule, and the updates until then."""

    too_soon: ClusteredShare
    caught: ClusteredShare
    delay: float
    rules: Counter[str]


def rates(kind: Kind, runs: int, noise: float) -> Rates:
    too_soon, caught = ClusteredShare(), ClusteredShare()
    delays, rules = [], Counter[str]()
    for seed in range(runs):
        alarm = first_alarm(kind, seed, noise)
        is_early = alarm is not None and alarm.step < kind.begins
        is_caught = alarm is not None and not is_early and alarm.rule == kind.rule
        too_soon.add(int(is_early), 1)
        caught.add(int(is_caught), 1)
        rules[alarm.rule if alarm else "none"] += 1
        delays += [alarm.step - kind.begins] if alarm and is_caught else []
    return Rates(too_soon, caught, float(np.median(delays)) if delays else float("nan"), rules)


def shown(share: ClusteredShare) -> str:
    figure = share.figure()
    return f"{figure.value:6.1%} ({figure.low:.1%} to {figure.high:.1%})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--noise", type=float, nargs="*", default=[0.03, 0.06])
    chosen = parser.parse_args()
    for noise in chosen.noise:
        print(f"\nstandard error of a held-out score {noise:g}, {chosen.runs} runs of {STEPS} updates of each kind")
        print(f"  {'kind':20} {'stopped too soon':28} {'caught by its rule':28} updates until then (median)")
        for kind in KINDS:
            found = rates(kind, chosen.runs, noise)
            caught = shown(found.caught) if kind.rule else "–"
            print(f"  {kind.name:20} {shown(found.too_soon):28} {caught:28} {found.delay:.0f}   {dict(found.rules)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
