"""`rlaif watch`: edit the constitution in your editor, and see on every save what it turned."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.project import ConfigOption, SetOption, open_project

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rich.console import Console, RenderableType

    from rlaif.feedback.watch_round import Round

app = typer.Typer()

PROMPTS = (
    24  # of 120, with four answers each: 288 verdicts per principle, so all six of small.yaml stay under ten seconds
)
_TEXT_SHOWN = 70  # characters of a changed text, and of what comes before the change
_BEFORE_SHOWN = 25


@app.command(
    epilog="Examples:  rlaif watch  ·  rlaif watch --config quickstart.yaml --prompts 60  ·  rlaif watch --json"
)
def watch(
    config: ConfigOption = Path("rlaif.yaml"),
    sets: SetOption = None,
    prompts: Annotated[int, typer.Option(min=1, help="Judge the answers to N of the prompts.")] = PROMPTS,
    examples: Annotated[int, typer.Option(min=0, help="Show N of the flips with the largest change.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per save.")] = False,
) -> None:
    """Judge a sample of the prompts again whenever the constitution is saved, and show which labels flipped.

    The judge stays loaded. Only what an edit changed is asked, a text that was judged before costs nothing, and all
    verdicts are in the store for the next `rlaif generate`. Documents it extends and the judge's template are watched
    too; settings and prompts are read once. Ctrl-C ends it.
    """
    from rich.console import Console

    from rlaif.cli.progress import ConsoleProgress
    from rlaif.feedback.watch import watch as watched

    project = open_project(config, sets)
    progress = ConsoleProgress(Console(stderr=True))
    console, last = Console(), None
    with closing(watched(project.settings, base=project.base, num_prompts=prompts, progress=progress)) as rounds:
        try:
            for last in rounds:
                if as_json:
                    typer.echo(json.dumps(last.as_json(), ensure_ascii=False))
                else:
                    _print(last, console, examples)
        except KeyboardInterrupt:  # the usual way to end it; before the start was judged it is an interruption
            if last is None:
                raise
            progress.note("ended; every verdict is in the store")


def _print(done: "Round", console: "Console", examples: int) -> None:
    from rich.text import Text

    for part in _view(done, examples):
        console.print(part, soft_wrap=isinstance(part, Text))


def _view(done: "Round", examples: int) -> "Iterator[RenderableType]":
    from rich.rule import Rule
    from rich.text import Text

    if done.kind != "start":
        yield Rule(f"save {done.number}")
    if done.kind == "mistake":
        yield Text.assemble(("error: ", "bold red"), done.mistake)
        yield Text("The labels stay as they were; save again when it is mended.")
    elif done.kind == "overtaken":
        yield Text(f"A newer save is there: given up after {done.asked:,} verdicts, which are kept.")
    elif done.sampled:
        yield from _judged(done, examples)


def _judged(done: "Round", examples: int) -> "Iterator[RenderableType]":
    from rich.text import Text

    from rlaif.cli.diff import difference_view
    from rlaif.cli.run_view import safe
    from rlaif.feedback.difference import as_json

    for change in done.changes:
        yield safe(f"{change.principle_id or 'document'}: {change.kind}: {_told_apart(change.before, change.after)}")
    if done.difference:
        found = as_json(done.difference)
        found["principles"] = [one for one in found["principles"] if one["mean_change"]]
        if _has_moved(found):
            yield difference_view(found, "against the save before", examples)
        else:
            yield Text("No label moved.", "bold")
    for name in done.sampled.unheard if done.sampled else ():
        yield Text(f"{name} applies to none of the sampled prompts: take more (--prompts).")
    yield Text(_last_line(done))


def _has_moved(found: dict[str, Any]) -> bool:
    counts = [count for kind, count in found["counts"].items() if kind != "kept"]
    return any(counts) or bool(found["principles"])


def _last_line(done: "Round") -> str:
    asked = f"{done.asked:,} verdicts asked, {done.reused:,} from the store"
    without = sum(count for outcome, count in done.outcomes.items() if outcome not in ("ok", "tie"))
    asked += f", {without:,} ended without a verdict" if without else ""
    if done.since_start is None:
        sampled = done.sampled
        assert sampled is not None
        return (
            f"{asked}.\nWatching {', '.join(done.files)}: {sampled.prompts:,} prompts, {sampled.pairs:,} pairs of"
            f" answers, {sampled.principles} principles. Save to see what an edit turns; Ctrl-C ends."
        )
    counts = done.since_start.counts
    moved = ", ".join(f"{counts[kind]:,} {kind}" for kind in counts if kind != "kept" and counts[kind])
    return f"{done.seconds:.1f} s from save to here: {asked}. Since the start: {moved or 'no label turned'}."


def _told_apart(before: str, after: str) -> str:
    """Both texts on one line; of long ones the part where they begin to differ."""
    texts = [" ".join(text.split()) for text in (before, after)]
    start = 0
    if max(map(len, texts)) > _TEXT_SHOWN:
        alike = next((i for i, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), 0)
        start = max(0, alike - _BEFORE_SHOWN)
    head = "…" if start else ""
    tails = ["…" if len(text) > start + _TEXT_SHOWN else "" for text in texts]
    return " → ".join(
        f"{head}{text[start : start + _TEXT_SHOWN]}{tail}" for text, tail in zip(texts, tails, strict=True)
    )
