"""The command `rlaif`: which subcommands there are, and what a person sees when something goes wrong.

A subcommand is a module here with a typer app called `app`; it is imported when it is called and not before, so that
`rlaif --help` answers at once. No mistake of the user's ends in a traceback: errors of ours are printed as they are and
give their class's exit code (`rlaif/errors.py`); anything else is a bug of ours, and its traceback goes to a file.

Exit codes: those of `rlaif/errors.py`, 130 after Ctrl-C, 70 for a bug.
"""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

import rlaif
from rlaif.cores import wait_without_spinning
from rlaif.errors import InputError, RlaifError, StoreError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BUG = 70  # EX_SOFTWARE of sysexits.h, so that a script can tell a bug from a mistake

COMMANDS = {
    "init": "Lay out a new project: constitution, prompts and a commented rlaif.yaml.",
    "constitution": "Check, show, compare and test constitutions.",
    "plan": "What a run would ask of models, why, and what it costs, before any is loaded.",
    "generate": "Sample answers, judge every pair, and write the preference dataset.",
    "revise": "Criticise and rewrite answers under the constitution: data to fine-tune on, and judged pairs.",
    "train": "Train: SFT, a reward model, DPO and its relatives on the dataset; PPO and GRPO.",
    "watch": "Edit the constitution in your editor and see on every save which labels flip.",
    "show": "A run's figures, or one of its pairs with all verdicts.",
    "judges": "What a cascade of a run's judges would keep and spend, at several thresholds.",
    "store": "Count, check, clean and merge the stored results.",
    "diff": "Which labels flipped between two runs, and the principles that did it.",
    "explain": "How one label came about: the prompts the judge saw, its verdicts, and every step from there.",
    "judge-card": "How good a judge is: what it leaves out, what the place decides, what sways it.",
    "label": "A local page where people compare answers blindly; every vote is kept at once.",
    "labels": "Import, export, count, match and plan labels of people and judges; let a judge label people's pairs.",
    "compare": "People's labels and a judge's: how far they agree, how sure that is, where not, what to change.",
    "serve": "Start vLLM's server for a model, with the flags this project relies on.",
    "tiny": "Measure the bundled tiny models.",
    "doctor": "What is installed, what works here, and what to type to get the rest.",
}


class LazyGroup(TyperGroup):
    """A group whose commands are names with a line of help until one of them is called.

    One whose module is not there is not offered: a command missing from an installation breaks no other.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands = {
            name: TyperCommand(name, help=line) for name, line in COMMANDS.items() if find_spec(module_of(name))
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The called command itself, instead of the line that stood for it."""
        name, placeholder, rest = super().resolve_command(ctx, args)
        return name, load_command(placeholder.name) if placeholder and placeholder.name else None, rest


def module_of(name: str) -> str:
    """The module that holds a subcommand."""
    return f"rlaif.cli.{name.replace('-', '_')}"


def load_command(name: str) -> Any:
    """Import a subcommand and make it ready to be called; shell completion is offered by `rlaif`, not by its parts."""
    command = typer.main.get_command(import_module(module_of(name)).app)
    command.name = name
    command.params = [option for option in command.params if not (option.name or "").endswith("_completion")]
    return command


def print_version(wanted: bool) -> None:
    """`rlaif --version`, before any command is looked for."""
    if wanted:
        typer.echo(f"rlaif {rlaif.__version__}")
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def rlaif_command(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a written constitution to preference data and aligned models, and what that data is worth.

    Begin with [bold]rlaif init my-project --tiny[/bold]; see what this machine can do with [bold]rlaif doctor[/bold].
    """


def say(kind: str, message: str) -> None:
    """A message on stderr. Never wrapped (paths stay whole) and never markup (a file name may hold brackets)."""
    Console(stderr=True).print(Text.assemble((f"{kind}: ", "bold red"), message), soft_wrap=True)


def is_disk_full(error: BaseException) -> bool:
    """True for a full disk or quota, and a file as large as is allowed. DuckDB raises an error of its own for it, with
    the same words."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return getattr(error, "errno", None) in full or os.strerror(errno.ENOSPC) in str(error)


def write_traceback(error: BaseException) -> Path:
    """Put an unexpected error's traceback where it can be attached to a report."""
    with tempfile.NamedTemporaryFile("w", prefix="rlaif-bug-", suffix=".txt", delete=False) as file:
        file.write(f"rlaif {rlaif.__version__}, Python {sys.version}\n{sys.argv}\n\n")
        file.writelines(traceback.format_exception(error))
    return Path(file.name)


def exit_code_of(error: Exception) -> int:
    """Tell the user what happened, and the exit code that says it to a script."""
    if os.environ.get("RLAIF_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, RlaifError):
        say("error", str(error))
        return error.exit_code
    if is_disk_full(error):
        say("error", f"the disk is full: {error}\nMake room and run the same command again; what was written is kept.")
        return StoreError.exit_code
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS:
        say("error", f"{error}\nYou may not write or read there; choose another place, or change its permissions.")
        return StoreError.exit_code
    if isinstance(error, NotADirectoryError | FileExistsError | IsADirectoryError) and error.filename:
        found = f"{error.filename}: there is a file where a folder is wanted, or the other way round."
        say("error", f"{found}\nName another place, or move what is there away.")
        return InputError.exit_code
    say("bug", f"{type(error).__name__}: {error}\nThis is a fault in rlaif, not in what you typed.")
    try:
        say("traceback", f"{write_traceback(error)} (RLAIF_DEBUG=1 prints it)")
    except OSError:  # no temporary file can be written
        traceback.print_exception(error)
    return BUG


def run(arguments: Sequence[str] | None = None) -> None:
    """The entry point: run one command line and exit."""
    wait_without_spinning()
    try:
        typer.main.get_command(app).main(args=arguments, prog_name="rlaif")
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as exit_:  # typer ends every command with one, and turns Ctrl-C into 130 without a word
        if exit_.code != INTERRUPTED:
            raise
        code = INTERRUPTED
    except Exception as error:  # the one place where everything ends: nothing is swallowed, it becomes an exit code
        code = exit_code_of(error)
    else:
        return
    if code == INTERRUPTED:
        say("interrupted", "the same command continues where this one stopped")
    sys.exit(code)


if __name__ == "__main__":
    run()
