"""How often the watch over a training stops a healthy run, and how soon it finds a planted fault, over simulated runs.

    python -m benchmarks.watch_rates                 # 2,000 runs of each kind: several hours on one core
    python -m benchmarks.watch_rates --runs 100 --kinds flat "hacked early"

A run is 400 updates with a held-out score every 10. Healthy ones rise and level off, stay where they are, or wander;
each planted one has a single fault. Held-out prompts are better or worse ones by nature, and each answer is right or
wrong by a coin of its own: the error of the score of 64 is 0.06, of 256 it is 0.03. Rewards are those of 64 answers.
Slowly hacked runs follow Gao et al., arXiv:2210.10760, eq. 1: the true score is d (α - β d) at distance d = √KL, the
reward goes on rising; the fault begins at the top, d = α / 2β. Those hacked early follow one of ours, of PPO on the
bundled models without a KL (docs/reward-hacking.md): a top at the eighth score, most of it lost within three, then a
plateau. A run counts as caught when its own rule fires after the fault began, and as stopped too soon when any rule
fires before. Where the held-out score decides, the table has the rule with slopes alone, and with drops beside them.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rlaif.numbers.clustered_share import ClusteredShare
from rlaif.train.rl.readings import Reading
from rlaif.train.rl.watch import Alarm, Rule, Watch, WatchSettings

STEPS, EVERY, BEGINS, EARLY = 400, 10, 200, 80
SETTINGS = WatchSettings(held_out_every=EVERY)
SLOPES_ALONE = WatchSettings(held_out_every=EVERY, held_out_drop=None)
Change = Callable[[Reading, float], Reading]


@dataclass(frozen=True)
class Kind:
    """A kind of run: what changes a healthy reading from a step on, and the rule that should see it. `change` gets the
    reading, whose held-out score is still the true one, and how much of the run is over, 0 to 1."""

    name: str
    rule: Rule | None
    begins: int
    change: Change
    wander: float = 0.0  # deviation of what the true score wanders by


def simulated(kind: Kind, seed: int, prompts: int) -> Iterator[Reading]:
    """The readings of one run, the held-out scores as drawn from so many prompts."""
    draw = np.random.default_rng(seed)
    nature = draw.normal(0, 0.15, prompts)
    wander = 0.0
    for reading in healthy(draw):
        one = kind.change(reading, reading.step / STEPS)
        if one.held_out is not None:
            wander = 0.7 * wander + draw.normal(0, kind.wander * (1 - 0.7**2) ** 0.5)
            each = draw.random(prompts) < np.clip(one.held_out + wander + nature, 0, 1)
            one = one.with_scores(each.astype(float))
        yield one


def healthy(draw: np.random.Generator) -> Iterator[Reading]:
    """Reward, true score and KL rise and level off; lengths and entropy drift as they do in good runs."""
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
            held_out=float(0.5 + 0.2 * gone) if step % EVERY == 0 or step == 1 else None,
        )


def unchanged(reading: Reading, gone: float) -> Reading:
    return reading


def scored(reading: Reading, score: float) -> Reading:
    return reading if reading.held_out is None else replace(reading, held_out=float(score))


def flat(reading: Reading, gone: float) -> Reading:
    """Nothing is learnt: every fall is chance, and the reward is as often higher as lower."""
    return scored(replace(reading, reward=reading.reward - (1.0 - np.exp(-reading.step / 80))), 0.5)


def hacked(reading: Reading, gone: float) -> Reading:
    """`gone` is d over the distance at which the true score is back where it began, so the top is at 1/2."""
    more = replace(reading, reward=reading.reward + 2 * gone, kl=20 * gone**2)
    return scored(more, 0.5 + 0.25 * 4 * gone * (1 - gone))


def hacked_quickly(reading: Reading, gone: float) -> Reading:
    """From the middle on the score falls within five scores from 0.69 to 0.3, and stays there."""
    lost = np.clip((reading.step - BEGINS) / (5 * EVERY), 0, 1)
    more = replace(reading, reward=reading.reward + lost)
    return more if reading.step <= BEGINS else scored(more, 0.69 - 0.39 * lost)


def hacked_early(reading: Reading, gone: float) -> Reading:
    """From 0.45 to 0.69 in eight scores, down to 0.42 in three, level for six, and down to 0.2."""
    ways = [(0, 0.45), (EARLY, 0.69), (EARLY + 30, 0.42), (EARLY + 90, 0.42), (EARLY + 120, 0.2), (STEPS, 0.2)]
    return scored(
        replace(reading, reward=reading.reward + gone), float(np.interp(reading.step, *zip(*ways, strict=True)))
    )


KINDS = (
    Kind("healthy", None, STEPS + 1, unchanged),
    Kind("flat", None, STEPS + 1, flat),
    Kind("wandering", None, STEPS + 1, unchanged, wander=0.03),
    Kind("hacked slowly", "held_out", BEGINS, hacked),
    Kind("hacked quickly", "held_out", BEGINS, hacked_quickly),
    Kind("hacked early", "held_out", EARLY, hacked_early),
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


def first_alarm(kind: Kind, seed: int, prompts: int, settings: WatchSettings = SETTINGS) -> Alarm | None:
    """One simulated run until the watch stops it."""
    watch = Watch(settings)
    for reading in simulated(kind, seed, prompts):
        if alarms := watch.note(reading):
            return alarms[0]
    return None


@dataclass(frozen=True)
class Rates:
    """Over runs of one kind: stopped before anything was wrong, caught by its rule, and the updates until each was."""

    too_soon: ClusteredShare
    caught: ClusteredShare
    delays: list[int]
    rules: Counter[str]


def rates(kind: Kind, runs: int, prompts: int, settings: WatchSettings = SETTINGS) -> Rates:
    too_soon, caught = ClusteredShare(), ClusteredShare()
    delays, rules = [], Counter[str]()
    for seed in range(runs):
        alarm = first_alarm(kind, seed, prompts, settings)
        is_early = alarm is not None and alarm.step < kind.begins
        is_caught = alarm is not None and not is_early and alarm.rule == kind.rule
        too_soon.add(int(is_early), 1)
        caught.add(int(is_caught), 1)
        rules[alarm.rule if alarm else "none"] += 1
        delays += [alarm.step - kind.begins] if alarm and is_caught else []
    return Rates(too_soon, caught, delays, rules)


def shown(share: ClusteredShare) -> str:
    figure = share.figure()
    return f"{figure.value:6.1%} ({figure.low:.1%} to {figure.high:.1%})"


def told(name: str, found: Rates, is_planted: bool) -> str:
    caught = shown(found.caught) if is_planted else "–"
    when = "–"
    if found.delays:
        low, middle, high = np.percentile(found.delays, [5, 50, 95])
        when = f"{middle:.0f} ({low:.0f} to {high:.0f})"
    return f"  {name:30} {shown(found.too_soon):28} {caught:28} {when:18} {dict(found.rules)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--prompts", type=int, nargs="*", default=[256, 64], help="held-out ones")
    parser.add_argument("--kinds", nargs="*", choices=[kind.name for kind in KINDS], help="default: all")
    chosen = parser.parse_args()
    for prompts in chosen.prompts:
        print(f"\n{prompts} held-out prompts, {chosen.runs} runs of {STEPS} updates of each kind; median (5 to 95 %)")
        print(f"  {'kind':30} {'stopped too soon':28} {'caught by its rule':28} {'updates until then':18} first alarms")
        for kind in KINDS:
            if chosen.kinds and kind.name not in chosen.kinds:
                continue
            is_scored = kind.rule in (None, "held_out")
            ways = {", slopes alone": SLOPES_ALONE, ", and drops": SETTINGS} if is_scored else {"": SETTINGS}
            for way, settings in ways.items():
                found = rates(kind, chosen.runs, prompts, settings)
                print(told(kind.name + way, found, is_planted=kind.rule is not None), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
