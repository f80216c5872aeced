"""`rlaif labels`: read labels from the formats people have, write them for the tools others have, count and match them.
No model is asked, but by `rlaif labels judge`: the judge's own labels on people's pairs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rlaif.cli.labels_estimate import estimate
from rlaif.cli.labels_plan import plan
from rlaif.cli.project import ConfigOption, SetOption, open_project
from rlaif.errors import DataError, nearest

if TYPE_CHECKING:  # loaded inside the commands, so that `rlaif --help` stays fast
    from rich.console import RenderableType

    from rlaif.labels.blind.summary import Sat
    from rlaif.labels.importing import Imported

app = typer.Typer(no_args_is_help=True, help="Import, export, count and match labels of people and judges.")

app.command(
    epilog="Examples:  rlaif labels plan --half-width 0.03  ·"
    "  rlaif labels plan --half-width 0.03 --pilot labels.jsonl --ai outputs/runs/quickstart --json"
)(plan)
app.command(epilog="Examples:  rlaif labels estimate labels.jsonl --ai outputs/runs/quickstart  ·  … --json")(estimate)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Label files, or folders of runs.")]
_SHOWN = 10  # rows left out that are printed; all are in the file beside the labels


@app.command(
    name="import",
    epilog="Examples:  rlaif labels import votes.jsonl.gz --output labels.jsonl  ·  "
    "rlaif labels import survey.csv --columns prompt=question,first=a,second=b,choice=vote --output labels.jsonl",
)
def import_(
    arguments: Annotated[
        list[str], typer.Argument(metavar="[FORMAT] FILE", help="The file, after its format if you name it.")
    ],
    output: Annotated[Path, typer.Option(help="The label file to write: .jsonl, or .parquet.")],
    format_: Annotated[str | None, typer.Option("--format", help="The format; recognised when not given.")] = None,
    columns: Annotated[str, typer.Option(help="Which column holds what: prompt=question,first=a,…")] = "",
    choices: Annotated[str, typer.Option(help="What the votes are spelled like: first=1,second=2,tie=0")] = "",
    texts: Annotated[list[Path] | None, typer.Option(help="The file with the texts, where votes lack them.")] = None,
    rater: Annotated[str, typer.Option(help="Who voted, where the file does not say.")] = "",
    kind: Annotated[
        Literal["human", "judge", "simulated"] | None, typer.Option(help="What the raters are; overrides the file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a file of labels in any known format. Every row that is no label is listed with its place and reason."""
    from rlaif.labels.file import write_votes
    from rlaif.labels.importing import Imported, Request, figures, find_format, read_labels

    named, path = _format_and_file(arguments, format_)
    request = Request(
        path=path,
        format=named,
        columns=_mapping(columns, "--columns"),
        choices=_mapping(choices, "--choices"),
        texts=tuple(texts or ()),
        rater=rater,
        kind=kind,
    )
    found_format = find_format(request)
    imported = Imported(found_format.name)
    write_votes(output, _at_least_one(read_labels(request, imported, found_format), imported))
    listing = _list_left_out(imported, output)
    if as_json:
        left_out = [str(one) for one in imported.left_out]
        typer.echo(json.dumps({**figures(imported), "output": str(output), "listed": left_out}, ensure_ascii=False))
        return
    _say_imported(imported, output, listing)


def _format_and_file(arguments: list[str], named: str | None) -> tuple[str | None, Path]:
    """`FILE` or `FORMAT FILE`. A lone word is a file."""
    from rlaif.labels.formats import BY_NAME

    if len(arguments) == 1:
        return named, Path(arguments[0])
    if len(arguments) == 2 and named is None:
        return arguments[0], Path(arguments[1])
    wrong = arguments[0] if arguments[0] not in BY_NAME else arguments[-1]
    do = "Write `rlaif labels import FORMAT FILE`, one file at a time; label files can be put one after the other."
    raise DataError(f"{' '.join(arguments)!r} is not a format and a file (at {wrong!r}).", do=do)


def _mapping(text: str, flag: str) -> dict[str, str]:
    """`a=b,c=d` as a mapping."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for name, sign, value in pairs:
        if not (name.strip() and sign and value.strip()):
            raise DataError(f"{flag} holds {name + sign + value!r}.", do=f"Write {flag} name=value,name=value.")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _at_least_one(votes: Any, imported: "Imported") -> Any:
    """The votes; DataError where there is none, before a file is written."""
    yield from votes
    if not imported.num_labels:
        reasons = "; ".join(f"{count:,} times {reason}" for reason, count in imported.reasons.items())
        where = imported.left_out[0].where if imported.left_out else None
        do = "Is it the right format? `--format` names another; docs/labels.md has them all."
        raise DataError(f"there is no label in {imported.num_rows:,} rows ({reasons or 'none'}).", where=where, do=do)


def _list_left_out(imported: "Imported", output: Path) -> Path | None:
    """Write all that was left out beside the labels; an older list goes."""
    from rlaif.pair_dataset import write_text

    path = output.with_name(f"{output.name}.left-out.txt")
    if not imported.left_out:
        path.unlink(missing_ok=True)
        return None
    write_text(path, "".join(f"{one}\n" for one in imported.left_out))
    return path


def _say_imported(imported: "Imported", output: Path, listing: Path | None) -> None:
    raters = f"{len(imported.raters):,} rater{'s' if len(imported.raters) != 1 else ''}"
    typer.echo(
        f"{imported.format}: {imported.num_rows:,} rows, {imported.num_votes:,} votes = "
        f"{imported.num_labels:,} labels of {raters} + {len(imported.left_out):,} left out"
    )
    for one in imported.left_out[:_SHOWN]:
        typer.echo(f"  {one}")
    if listing and len(imported.left_out) > _SHOWN:
        typer.echo(f"  … and {len(imported.left_out) - _SHOWN:,} more, all in {listing}")
    if imported.note:
        typer.echo(f"note: {imported.note}", err=True)
    typer.echo(f"{output}")


@app.command(
    epilog="Examples:  rlaif labels judge people.jsonl --plan  ·"
    "  rlaif labels judge people.jsonl --output judge.jsonl  ·"
    "  rlaif labels judge people.jsonl --set judge.model=Qwen/Qwen2.5-14B-Instruct --constitution strict.yaml"
)
def judge(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Label files, or folders of runs.")],
    output: Annotated[
        Path | None, typer.Option(help="The label file to write; default: FILE-judged.jsonl beside the first.")
    ] = None,
    config: ConfigOption = Path("rlaif.yaml"),
    sets: SetOption = None,
    constitution: Annotated[
        str | None, typer.Option(help="Judge by this constitution, not by that of the settings.")
    ] = None,
    is_plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be asked and what it costs, and stop.")
    ] = False,
    is_confirmed: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a large one.")] = False,
    calls: Annotated[int | None, typer.Option("--budget-calls", min=1, help="Stop after N model calls.")] = None,
    minutes: Annotated[float | None, typer.Option("--max-minutes", min=0.0, help="Stop after M minutes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let the judge label people's pairs as they are: by every principle, in both orders, a mark for each.

    Whatever is in the store already is not asked again: an interrupted one continues, a second asks nothing, and an
    edit of the constitution costs what it changed. Compare with `rlaif compare --ai OUTPUT --human FILE`.
    """
    from rich.console import Console

    from rlaif.cli.generate import agree
    from rlaif.cli.plan import plan_view
    from rlaif.cli.progress import ConsoleProgress
    from rlaif.evaluate.judged_labels import judge_pairs, plan_judging, read_pairs
    from rlaif.feedback.budget import Budget
    from rlaif.store import Store
    from rlaif.store.gc import judged_folder

    chosen = None if constitution is None else f"constitution={json.dumps(_from_here(constitution))}"
    project = open_project(config, [*(sets or []), *([chosen] if chosen else [])])
    settings, outputs = project.settings, project.base / project.settings.output
    target = output or files[0].with_name(f"{files[0].name.partition('.')[0]}-judged.jsonl")
    judged = read_pairs(files, settings, project.base, outputs / "labels-judge.log")
    progress = ConsoleProgress(Console(stderr=True))
    with Store(settings.store_place(project.base), will_append=not is_plan) as store:
        plan = plan_judging(judged, store=store, runs=outputs / "runs")
        if is_plan:
            Console().print(plan_view(plan), soft_wrap=True)
            return
        agree(plan, progress, is_confirmed, command="labels judge --plan")
        found = judge_pairs(
            judged,
            store=store,
            progress=progress,
            output=target,
            wish=judged_folder(outputs, judged[0].constitution.name, settings.judge.model, files[0].name),
            budget=Budget(calls=calls, seconds=None if minutes is None else minutes * 60),
        )
        for damage in store.damage:
            progress.note(f"unreadable result, asked again: {damage}")
    _say_judged(found, target, settings.max_no_verdict_share, as_json=as_json)


def _from_here(constitution: str) -> str:
    """A file's path as it is typed here; a shipped constitution's name stays."""
    return str(Path(constitution).resolve()) if Path(constitution).is_file() else constitution


def _say_judged(found: dict[str, Any], output: Path, allowed: float, *, as_json: bool) -> None:
    """The counts; IncompleteRun where too many requests have no verdict, after everything is written."""
    from dataclasses import asdict

    from rlaif.errors import IncompleteRun
    from rlaif.feedback.run import leading_reasons

    if as_json:
        stages = {name: asdict(stage) for name, stage in found["stages"].items()}
        typer.echo(json.dumps({**found, "stages": stages, "output": str(output)}, ensure_ascii=False))
    else:
        typer.echo(f"{found['judge']}: {found['labels']:,} labels on the pairs of {found['prompts']:,} prompts")
        for name, stage in found["stages"].items():
            ended = ", ".join(f"{count:,} {outcome}" for outcome, count in stage.outcomes.items() if count)
            typer.echo(f"  {name}: {stage.planned:,} = {ended}")
        typer.echo(f"{output}")
    for stage in found["stages"].values():
        if stage.no_verdict_share > allowed:
            raise IncompleteRun(
                f"{stage.no_verdict_share:.1%} of {stage.planned:,} requests have no verdict; allowed are {allowed:.1%}"
                f" ({leading_reasons(stage.reasons)}).",
                where=str(output),
                do="The file is written, those pairs are `skipped` in it. Raise max_no_verdict_share if that is meant.",
            )


@app.command(epilog="Examples:  rlaif labels export trl labels.jsonl --output train.jsonl")
def export(
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="trl, icai, argilla, label-studio or alpaca-eval.")],
    files: Files,
    output: Annotated[Path, typer.Option(help="The file to write.")],
    as_json: AsJson = False,
) -> None:
    """Write labels for another tool, and say what its format could not hold (every row is read back to know)."""
    from rlaif.labels.exporting import export_votes
    from rlaif.labels.exports import EXPORTS
    from rlaif.labels.sources import votes_of

    if format_ not in EXPORTS:
        found = f"{format_!r} is not a format that is written{nearest(format_, EXPORTS)}."
        raise DataError(found, do=f"There are: {', '.join(EXPORTS)}.")
    done = export_votes(votes_of(files), output, EXPORTS[format_])
    if as_json:
        figures: dict[str, Any] = {"labels": done.num_labels, "written": done.num_written, "rows": done.num_rows}
        figures |= {"left_out": dict(done.left_out), "lost": dict(done.lost), "output": str(output)}
        typer.echo(json.dumps(figures, ensure_ascii=False))
        return
    left_out = done.num_labels - done.num_written
    typer.echo(f"{format_}: {done.num_labels:,} labels = {done.num_written:,} written in {done.num_rows:,} rows + "
               f"{left_out:,} left out")  # fmt: skip
    for reason, count in done.left_out.most_common():
        typer.echo(f"  {count:,} left out: {reason}")
    for name, count in done.lost.most_common():
        typer.echo(f"  lost in {count:,} labels: {name}")
    typer.echo(f"{output}")


@app.command(epilog="Examples:  rlaif labels show labels.jsonl  ·  rlaif labels show outputs/runs/quickstart --json")
def show(files: Files, as_json: AsJson = False) -> None:
    """Counts: by rater, kind, choice, tag and source; duplicates and contradictions."""
    from rlaif.labels.summary import summarise
    from rlaif.labels.table import label_table

    found = summarise(label_table(files))
    sittings, stale = _sittings(files)
    found["notes"] += stale
    if as_json:
        typer.echo(json.dumps(found | {"sittings": [one.as_json() for one in sittings]}, ensure_ascii=False))
        return
    from rich.console import Console

    from rlaif.cli.label_view import sittings_view

    Console().print(_summary_view(found))
    if sittings:
        typer.echo(sittings_view(sittings))


def _sittings(files: Sequence[Path]) -> tuple[list["Sat"], list[str]]:
    """How raters did on the page, for the files that `rlaif label` made, and which of these lag behind their votes."""
    from rlaif.labels.blind.folder import VotesFolder
    from rlaif.labels.blind.summary import summaries

    found, stale = [], []
    for file in files:
        folder = VotesFolder(file) if file.suffix == ".jsonl" else None
        if folder is not None and folder.is_there:
            found += summaries(folder.journals())
            if not folder.is_current():
                stale.append(f"{file} lags behind the votes in {folder.path}: `rlaif label` brings it up to them")
    return found, stale


def _summary_view(found: dict[str, Any]) -> "RenderableType":
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    totals = f"{found['labels']:,} labels of {found['raters']:,} raters on {found['pairs']:,} pairs of {found['prompts']:,} prompts"  # noqa: E501  # one line of output
    parts: list[RenderableType] = [Text(totals, style="bold")]
    for name in ("choices", "kinds", "tags", "sources"):
        shown = [f"{key or '(none)'} {count:,}" for key, count in list(found[name].items())[:12]]
        more = f", and {len(found[name]) - 12:,} more" if len(found[name]) > 12 else ""
        if shown:
            parts.append(Text(f"{name}: {', '.join(shown)}{more}"))
    parts.append(Text(f"duplicates: {found['duplicates']:,}   contradictions: {found['contradictions']:,}"))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("rater", overflow="fold")
    for name in ("kind", "labels", "pairs", "ties", "both bad", "skipped", "median s"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for row in found["by_rater"][:25]:
        cells = [f"{row[key]:,}" for key in ("labels", "pairs", "ties", "both_bad", "skipped")]
        seconds = "" if row["median_seconds"] is None else f"{row['median_seconds']:.1f}"
        table.add_row(Text(row["rater"]), row["kind"], *cells, seconds)
    parts.append(table)
    if len(found["by_rater"]) > 25:
        parts.append(Text(f"… and {len(found['by_rater']) - 25:,} raters more (--json has all)"))
    parts += [Text(f"note: {note}") for note in found["notes"]]
    return Group(*parts)


@app.command(epilog="Examples:  rlaif labels align people.jsonl outputs/runs/quickstart  ·  … --list unmatched.jsonl")
def align(
    left: Annotated[Path, typer.Argument(metavar="LEFT", help="A label file, or the folder of a run.")],
    right: Annotated[Path, typer.Argument(metavar="RIGHT", help="The other source.")],
    list_to: Annotated[
        Path | None, typer.Option("--list", help="Write every unmatched, duplicate and contradictory one here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Match two sources by the pairs' texts, and list what is in one only, told twice, or told both ways."""
    from rlaif.labels.align import align as match
    from rlaif.labels.align import report
    from rlaif.labels.table import label_table

    alignment = match(label_table([left]), label_table([right]))
    found = report(alignment)
    if list_to:
        _write_lists(list_to, alignment)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for side, path in (("left", left), ("right", right)):
        counts = {name: found[name][side] for name in ("labels", "raters", "pairs", "prompts")}
        typer.echo(f"{side}: {path}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    matched = found["matched"]
    typer.echo(
        f"matched: {matched['pairs']:,} pairs of {matched['prompts']:,} prompts, judged {matched['things']:,} times by "
        f"both: {matched['labels']['left']:,} labels left, {matched['labels']['right']:,} right"
    )
    for name in ("unmatched", "duplicates", "contradictions"):
        typer.echo(f"{name}: {found[name]['left']:,} left, {found[name]['right']:,} right")
        _say_first(found[name]["first"][:5])


def _say_first(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        who = row.get("rater") or ", ".join(row["raters"][:5])
        item = f" item {row['item']}" if row["item"] else ""
        times = f" {row['votes']} votes" if "votes" in row else ""
        typer.echo(f"  {row['side']}: pair {row['pair_id'][:12]}{item}: {who}{times}")


def _write_lists(path: Path, alignment: Any) -> None:
    from rlaif.pair_dataset import write_text

    lines = []
    for name in ("unmatched", "duplicates", "contradictions"):
        rows = getattr(alignment, name).to_pylist()
        lines += [json.dumps({"what": name, **row}, ensure_ascii=False) + "\n" for row in rows]
    write_text(path, "".join(lines))
