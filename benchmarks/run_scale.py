"""What a run costs as it grows, models aside: `rlaif plan` and the reading and writing of `rlaif generate`.

    python -m benchmarks.run_scale                       # 100 thousand, 1 million and 10 million judgments
    python -m benchmarks.run_scale --sizes 100000        # a moment
    python -m benchmarks.run_scale --json

The answers and verdicts are made up and put into the store under the keys that the run will ask for: 4 answers to a
prompt, 12 principles, both orders, so 144 judgments a prompt. No model is asked anything. Each step runs in a process
of its own, so its peak memory is its own. Columns: `full` a plan when everything is there; `edit` after one of the 12
principles was edited; `fresh` on an empty store; `generate` on the full store: labels, pairs and all files.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rlaif.constitution import Constitution, load_constitution
from rlaif.feedback.progress import Quiet
from rlaif.feedback.road import Block, Blocks
from rlaif.feedback.run import Inputs, plan, read_inputs, road_of, run, run_folder
from rlaif.settings import EngineSettings, JudgeSettings, PairSettings, PolicySettings, PromptSource, Settings
from rlaif.store import Store

SIZES = (100_000, 1_000_000, 10_000_000)
PER_PROMPT = 144
STEPS = ("full", "edit", "fresh", "generate")
WORDS = "the of to and in is it that was for on are with as at be this have from or by but some what".split()  # noqa: SIM905


def settings() -> Settings:
    return Settings(
        name="scale",
        constitution="constitution.yaml",
        prompts=(PromptSource(path="prompts.jsonl"),),
        policies=(PolicySettings(model="policy", samples=4),),
        judge=JudgeSettings(model="judge"),
        engine=EngineSettings(kind="scripted"),
        pairs=PairSettings(critiques="none", min_margin=0.0),
    )


def lay_out(folder: Path, size: int) -> None:
    """The project: prompts, a constitution of 12 principles, and a store with all answers and verdicts."""
    with (folder / "prompts.jsonl").open("w") as lines:
        for number in range(size // PER_PROMPT):
            lines.write(json.dumps({"prompt": f"Question {number}: {words(number, 40)}?"}) + "\n")
    own = load_constitution("default").enabled[:12]
    write_constitution(folder, [one.model_dump(mode="json", include={"id", "text", "question"}) for one in own])
    inputs = read_inputs(settings(), folder)
    road = road_of(settings(), inputs, run_folder(settings(), folder))
    with Store(folder / "outputs" / "store") as store:
        for block in Blocks(road, inputs.prompts.prompts, lambda part: Block(road, part, store)):
            (sampling,) = block.sampling
            store.append_many("responses", [(key, answer(key)) for key in sampling.places])
            store.append_many("judgments", [(key, verdict(key)) for key in block.judging(0).asking.requests])


def write_constitution(folder: Path, principles: list[dict]) -> None:
    (folder / "constitution.yaml").write_text(json.dumps({"name": "scale", "principles": principles}))


def words(seed: int | str, count: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def answer(key: str) -> dict:
    text = words(key, 80)
    counts = {"prompt_tokens": 60, "output_tokens": 80, "max_tokens": 512}
    return {"outcome": "ok", "reason": "", "text": f"{key[:6]} {text}", "finish_reason": "stop", **counts}


def verdict(key: str) -> dict:
    lean = int(key[:8], 16) / 16**8
    counts = {"prompt_tokens": 700, "output_tokens": 1}
    return {"logprob_a": -0.05 - lean, "logprob_b": -2.0, "uncovered": 1e-4, "choice_method": "first_token", **counts}


def do(step: str, folder: Path) -> dict[str, float]:
    """One step's seconds and peak memory."""
    inputs = read_inputs(settings(), folder)
    start = time.perf_counter()
    if step == "generate":
        run(settings(), inputs, base=folder, progress=Quiet())
    else:
        if step == "edit":
            inputs = edited(inputs)
        found = plan(settings(), inputs, base=folder, is_fresh=step == "fresh")
        wanted = len(inputs.prompts.prompts) * PER_PROMPT
        expected = {"full": 0, "edit": wanted // 12, "fresh": wanted}[step]
        assert found.calls("judge") == expected, (step, found.calls("judge"), expected)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def edited(inputs: Inputs) -> Inputs:
    first, *rest = inputs.constitution.principles
    changed = first.model_copy(update={"text": f"{first.text} Always."})
    return Inputs(
        constitution=Constitution(name="edited", principles=(changed, *rest)),
        prompts=inputs.prompts,
        templates=inputs.templates,
    )


def in_child(step: str, folder: Path, size: int = 0) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.run_scale", "--step", step, "--folder", str(folder)]
    printed = subprocess.run([*command, "--sizes", str(size)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(printed)


def measure(size: int, place: Path | None, step: Callable[..., dict[str, float]] = in_child) -> dict:
    """All steps of one size; the project is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="run-scale-", dir=place))
    try:
        step("lay out", folder, size)
        return {"judgments": size // PER_PROMPT * PER_PROMPT, "steps": {name: step(name, folder) for name in STEPS}}
    finally:
        shutil.rmtree(folder)


def table(results: list[dict]) -> str:
    lines = [f"{'judgments':>12}" + "".join(f"{f'{name} s':>12}{'MB':>7}" for name in STEPS)]
    for result in results:
        cells = [result["steps"][name] for name in STEPS]
        line = "".join(f"{cell['seconds']:>12,.1f}{cell['peak_bytes'] / 1e6:>7,.0f}" for cell in cells)
        lines.append(f"{result['judgments']:>12,}" + line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="judgments")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--folder", type=Path, help="where projects are made (default: the temporary folder)")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step == "lay out":
        lay_out(options.folder, options.sizes[0])
        print("{}")
    elif options.step:
        print(json.dumps(do(options.step, options.folder)))
    else:
        results = [measure(size, options.folder) for size in options.sizes]
        print(json.dumps(results) if options.json else table(results))


if __name__ == "__main__":
    main()
