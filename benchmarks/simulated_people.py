"""People who were never there: labels of *simulated* people on a run of the tiny world, whose tastes are known.

    python -m benchmarks.simulated_people outputs/runs/quickstart --output people.jsonl [--people 3] [--seed 0]

Each simulated person sees every pair of the run's labels.parquet and prefers an answer with log-odds that add up over
the properties that only one of the two has, as the world's own grammar finds them in the texts
(`rlaif/tiny/properties.py`; no judge is asked). They want what `constitution/small.yaml` asks for, with two exceptions,
for a comparison to find: they *like* to be flattered, and how long an answer is is all the same to them.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import special

from rlaif.labels.file import write_votes
from rlaif.labels.sources import run_votes
from rlaif.labels.votes import Found, found_of, make_vote
from rlaif.tiny.properties import properties

TASTE = {"polite": 1.4, "doubt": 1.0, "reason": 1.2, "flatters": 1.0, "moralises": -1.0, "long": 0.0}


def votes_of(run: Path, people: int, seed: int):
    """Every person's vote on every pair of the run."""
    rng = np.random.default_rng(seed)
    for vote in run_votes(run):
        shown = found_of(vote)
        first, second = properties(shown.first), properties(shown.second)
        odds = sum(worth * ((name in first) - (name in second)) for name, worth in TASTE.items())
        for person in range(people):
            choice = "first" if rng.random() < special.expit(odds) else "second"
            yield make_vote(
                Found(prompt=shown.prompt, first=shown.first, second=shown.second, tags=shown.tags,
                      rater=f"simulated-{person + 1}", kind="simulated", choice=choice), source="simulated",
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    count = write_votes(arguments.output, votes_of(arguments.run, arguments.people, arguments.seed))
    print(f"{count:,} labels of {arguments.people} simulated people: {arguments.output}")


if __name__ == "__main__":
    main()
