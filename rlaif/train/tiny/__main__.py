"""`python -m rlaif.train.tiny`: make the bundled tiny models, step by step or all at once, and measure them."""

import argparse
import json
import sys
from pathlib import Path

from rlaif.bundled import project_file
from rlaif.errors import RlaifError
from rlaif.train.tiny.judge import JudgeRun
from rlaif.train.tiny.loop import say
from rlaif.train.tiny.making import export, make_tokenizer_files, train_judge, train_modes, train_policy
from rlaif.train.tiny.measuring import as_text, measure
from rlaif.train.tiny.modes import ModesRun
from rlaif.train.tiny.policy import PolicyRun
from rlaif.train.tiny.prompt_set import write_prompt_set

JUDGE_STEPS, MODES_STEPS, POLICY_STEPS = 4500, 950, 1000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rlaif.train.tiny", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--work", type=Path, default=Path("outputs/tiny"), help="where checkpoints are kept")
        return added

    command("tokenizer", "Make the tokenizer both models share, and the judge's copy with its own tokens.")
    command("prompts", "Write prompts/sets/tiny-world.jsonl.")
    trained = {
        "policy": ("Train the policy", POLICY_STEPS),
        "judge": ("Train the judge to compare", JUDGE_STEPS),
        "modes": ("Train the judge on, to reason and to score", MODES_STEPS),
    }
    for name, (text, steps) in trained.items():
        one = command(name, f"{text}, from its last checkpoint if there is one.")
        one.add_argument("--steps", type=int, default=steps, help="optimizer steps in all")
    command("export", "Write the trained models into the package.")
    everything = command("all", "All of the above in order, then measure.")
    for one in (command("measure", "Print the figures of the shipped models."), everything):
        one.add_argument("--json", action="store_true", help="print JSON instead of text")
        one.add_argument("--write", action="store_true", help="keep the figures beside the weights")
        one.add_argument("--count", type=int, default=200, help="comparisons per kind of wording")
        one.add_argument("--prompts", type=int, default=250, help="prompts of the policy, 4 answers each")
        one.add_argument("--seed", type=int, default=2024)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    if args.what in ("tokenizer", "all"):
        make_tokenizer_files(args.work)
    if args.what in ("prompts", "all"):
        write_prompt_set(project_file("prompts/sets/tiny-world.jsonl"))
    if args.what in ("policy", "all"):
        train_policy(args.work, PolicyRun(steps=getattr(args, "steps", POLICY_STEPS)))
    if args.what in ("judge", "all"):
        train_judge(args.work, JudgeRun(steps=getattr(args, "steps", JUDGE_STEPS)))
    if args.what in ("modes", "all"):
        train_modes(args.work, ModesRun(steps=getattr(args, "steps", MODES_STEPS)))
    if args.what in ("export", "all"):
        export(args.work)
    if args.what in ("measure", "all"):
        found = measure(
            count=args.count, num_prompts=args.prompts, seed=args.seed, write=args.write or args.what == "all"
        )
        sys.stdout.write((json.dumps(found, indent=2) if args.json else as_text(found)) + "\n")


def main() -> int:
    try:
        run(arguments())
    except RlaifError as error:
        say(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
