"""What a small reward model from scratch learns of people's labels: HH-RLHF harmless, 5-fold cross-validation.

    python -m benchmarks.reward_hh ../shared/data/hh-harmless-dev.jsonl.gz
    python -m benchmarks.reward_hh FILE --folds 0 1              # two folds; the summary is over all that are kept
    python -m benchmarks.reward_hh FILE --summary                # trains nothing
    python -m benchmarks.reward_hh FILE --seeds 3 --json
    python -m benchmarks.reward_hh FILE --only ours              # without TRL's trainer, several times as quick

The folds are by prompt (the first human turn), so no prompt is on both sides. Per fold: a tokenizer from the training
part, a Llama of random weights with a reward head, and from these same first weights our trainer and TRL's, with the
same rows, batch size, optimizer, schedule, epochs and float32, on one thread. Both models are scored by the same
function. Nothing was tuned on these folds: the settings were written down before the first run.

Every training's result is kept in `--results` as it ends, under what it depends on (data, settings, seed, fold,
trainer). The same command goes on after an interruption; several commands may share the folder and the folds.

Beside them a baseline that sees lengths alone: it prefers the longer or the shorter answer, whichever was chosen more
often in the training part. Intervals are bootstraps over prompts; differences are taken pair by pair.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks import reward_hh_sides as sides
from benchmarks.reward_hh_sides import FOLDS, Pair
from rlaif.identity import digest
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import Figure, NotDefined
from rlaif.numbers.intervals import difference, estimates, mean_measure

ROOT = Path(__file__).resolve().parents[1]
ARMS: dict[str, Callable[..., object]] = {"ours": sides.train_ours, "TRL": sides.train_trl}
EXPECTED_S = {"ours": 60.0, "TRL": 300.0}  # of one fold on one thread, before anything was measured here
TELL_EVERY_S = 30.0


@dataclass(frozen=True)
class Job:
    """One training: which fold is held out, which seed, whose trainer."""

    seed: int
    fold: int
    arm: str

    def file(self, folder: Path) -> Path:
        return folder / f"seed{self.seed}-fold{self.fold}-{self.arm.lower()}.json"


@dataclass(frozen=True)
class Kept:
    """What a training left: per held-out pair 1, 1/2 or 0, in the order of the file."""

    right: list[float]
    seconds: float
    threads: int
    machine: str
    versions: dict[str, str]


def kept_folder(results: Path, pairs: Sequence[Pair]) -> Path:
    """Where results of this data under these settings lie."""
    settings = [FOLDS, sides.VOCABULARY, sides.MAX_LENGTH, sides.SHAPE, sides.BATCH, sides.EPOCHS, sides.RATE]
    return results / digest([settings, [pair.as_row() for pair in pairs]])[:12]


def read_kept(job: Job, folder: Path) -> Kept | None:
    file = job.file(folder)
    return Kept(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def keep(job: Job, folder: Path, kept: Kept) -> None:
    """Whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = job.file(folder).with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(asdict(kept)), encoding="utf-8")
    unfinished.replace(job.file(folder))


# --- training


def expected_s(jobs: Sequence[Job], folder: Path) -> float:
    """From the kept results of the same trainer, else from EXPECTED_S."""
    total = 0.0
    for arm in ARMS:
        found = [
            json.loads(file.read_text(encoding="utf-8"))["seconds"] for file in folder.glob(f"*-{arm.lower()}.json")
        ]
        total += sum(job.arm == arm for job in jobs) * float(np.mean(found) if found else EXPECTED_S[arm])
    return total


def teller(job: Job) -> Callable[[int, int], None]:
    """Says now and then how far a training is."""
    began = told = time.perf_counter()

    def tell(done: int, total: int) -> None:
        nonlocal told
        now = time.perf_counter()
        if now - told >= TELL_EVERY_S:
            told = now
            say(f"  {job.arm}: step {done} of {total}, about {(now - began) * (total - done) / done:.0f} s left")

    return tell


def run_job(job: Job, pairs: Sequence[Pair], threads: int) -> Kept:
    import torch

    torch.set_num_threads(threads)
    learnt = [pair for pair in pairs if pair.fold != job.fold]
    held_out = [pair for pair in pairs if pair.fold == job.fold]
    with tempfile.TemporaryDirectory() as scratch:
        start = Path(scratch) / "start"
        sides.make_start(learnt, start, seed=1000 * job.seed + job.fold)
        began = time.perf_counter()
        model = ARMS[job.arm](start, learnt, Path(scratch), job.seed, teller(job))
        seconds = time.perf_counter() - began
        right = sides.is_right(model, start, held_out)
    versions = {name: version(name) for name in ("torch", "transformers", "trl")}
    return Kept(right.tolist(), round(seconds, 1), threads, platform.machine(), versions)


def run_jobs(jobs: Sequence[Job], folder: Path, pairs: Sequence[Pair], threads: int) -> None:
    left = [job for job in jobs if read_kept(job, folder) is None]
    say(f"{len(jobs)} trainings, {len(jobs) - len(left)} kept from before; results in {folder}")
    while left:
        say(f"{len(left)} to go, about {expected_s(left, folder) / 60:.0f} min")
        job = left.pop(0)
        if read_kept(job, folder):  # another process has done it meanwhile
            continue
        kept = run_job(job, pairs, threads)
        keep(job, folder, kept)
        say(f"seed {job.seed} fold {job.fold}: {job.arm} {np.mean(kept.right):.3f}, {kept.seconds:.0f} s")


# --- what came out


def measured(folder: Path, pairs: Sequence[Pair], seeds: int, arms: Sequence[str]) -> dict[str, np.ndarray]:
    """Per arm each pair's mean over the seeds, NaN where a fold is not there yet; a seed of a fold counts when all
    arms have it."""
    places = [np.array([place for place, one in enumerate(pairs) if one.fold == fold]) for fold in range(FOLDS)]
    found = {name: np.full(len(pairs), np.nan) for name in ("length alone", *arms)}
    for fold in range(FOLDS):
        kept = [[read_kept(Job(seed, fold, arm), folder) for arm in arms] for seed in range(seeds)]
        complete = [row for row in kept if all(row)]
        if not complete:
            continue
        say(f"fold {fold}: {len(complete)} of {seeds} seeds, {len(places[fold])} pairs")
        for place, arm in enumerate(arms):
            found[arm][places[fold]] = np.mean([row[place].right for row in complete if row[place]], axis=0)
        learnt, held_out = ([pair for pair in pairs if (pair.fold == fold) is side] for side in (False, True))
        found["length alone"][places[fold]] = sides.by_length(learnt, held_out)
    return found


def figures(right: dict[str, np.ndarray], prompts: np.ndarray) -> dict[str, Figure]:
    """Accuracies, and their differences on the same resamples."""
    measures = {name: mean_measure(values) for name, values in right.items()}
    compared = [(a, b) for a, b in (("ours", "TRL"), ("ours", "length alone")) if a in measures and b in measures]
    for first, second in compared:
        measures[f"{first} - {second}"] = difference(measures[first], measures[second])
    return estimates(cluster_bootstrap(prompts), measures)


def report(found: dict[str, Figure]) -> str:
    lines = []
    for name, figure in found.items():
        if isinstance(figure, NotDefined):
            lines.append(f"{name:22} not defined: {figure.because}")
        elif figure.low is None or figure.high is None:
            lines.append(f"{name:22} {figure.value:+.3f}, no interval: {figure.because}")
        else:
            lines.append(f"{name:22} {figure.value:+.3f} ({figure.low:+.3f} to {figure.high:+.3f}), n {figure.n}")
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="hh-harmless-dev.jsonl.gz, or a file like it")
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)), choices=range(FOLDS), metavar="N")
    parser.add_argument("--seeds", type=int, default=1, help="runs of the folds; a pair's accuracy is their mean")
    parser.add_argument("--only", choices=("ours", "trl"), help="one of the two trainers")
    parser.add_argument("--summary", action="store_true", help="of what is kept; train nothing")
    parser.add_argument("--results", type=Path, default=ROOT / "outputs" / "reward-hh", help="where results are kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    chosen = read_arguments()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one core means one core
    pairs = sides.read_pairs(chosen.data, say)
    folder = kept_folder(chosen.results, pairs)
    arms = [arm for arm in ARMS if chosen.only in (None, arm.lower())]
    jobs = [Job(seed, fold, arm) for seed in range(chosen.seeds) for fold in chosen.folds for arm in arms]
    if not chosen.summary:
        try:
            run_jobs(jobs, folder, pairs, chosen.threads)
        except KeyboardInterrupt:
            say(f"Stopped. What is finished is kept in {folder}; the same command goes on.")
            return 130
    right = measured(folder, pairs, chosen.seeds, arms)
    there = np.isfinite(right["length alone"])
    if not there.any():
        say("No fold is finished yet.")
        return 1
    prompts = np.array([pair.opening for pair in pairs])
    found = figures({name: values[there] for name, values in right.items()}, prompts[there])
    print(json.dumps({k: one.as_dict() for k, one in found.items()}, indent=2) if chosen.json else report(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
