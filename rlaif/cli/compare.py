"""`rlaif compare`: how far a judge agrees with people, how sure that is, where it does not, and two judges side by
side. No model is asked."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from rlaif.cli.compare_suggest import suggest
from rlaif.errors import DataError, InputError

if TYPE_CHECKING:  # loaded inside the commands, so that `rlaif --help` stays fast
    from collections.abc import Mapping

    from rich.console import RenderableType

    from rlaif.evaluate.comparison.compared import Compared
    from rlaif.evaluate.comparison.tables import Section
    from rlaif.evaluate.comparison.terms import Terms


class ReportUnlessNamed(TyperGroup):
    """`rlaif compare --ai … --human …` is `rlaif compare report …`: the report is what the command is for."""

    default_command = "report"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = [self.default_command, *(args or ["--help"])]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=ReportUnlessNamed)
app.command(epilog="Examples:  rlaif compare suggest --ai outputs/runs/quickstart --human people.jsonl  ·  … --apply")(
    suggest
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: every figure is {value, low, high, n}.")]
Human = Annotated[
    list[Path] | None, typer.Option("--human", metavar="FILE", help="People's label files; more may follow it.")
]
More = Annotated[list[Path] | None, typer.Argument(metavar="[FILE…]", help="More files of people's labels.")]
Ties = Annotated[
    Literal["class", "half", "drop"],
    typer.Option(help="A tie is an answer of its own, half a vote for each side, or left out."),
]
TieWidth = Annotated[float, typer.Option(help="A probability this near to 1/2 is a tie.")]
Skipped = Annotated[
    Literal["drop", "tie"], typer.Option(help="A vote that names nothing is left out, or counts as a tie.")
]
Resamples = Annotated[int, typer.Option("--resamples", help="Bootstrap resamples of prompts.")]
Seed = Annotated[int, typer.Option(help="Of resamples and folds: the same gives the same bytes.")]


@app.command(
    epilog="Examples:  rlaif compare --ai quickstart --human people.jsonl  ·"
    "  rlaif compare --human anna.jsonl ben.jsonl  ·"
    "  rlaif compare --ai judge.jsonl --human people.jsonl --json > report.json  ·"
    "  rlaif compare diff report.json today.json"
)
def report(
    more: More = None,
    ai: Annotated[
        list[str] | None, typer.Option("--ai", metavar="RUN|FILE", help="A run, its folder, or a judge's label file.")
    ] = None,
    human: Human = None,
    output: Annotated[Path, typer.Option(help="The folder that holds runs/.")] = Path("outputs"),
    by_model: Annotated[bool, typer.Option("--models", help="Also rank the models that wrote the answers.")] = False,
    ties: Ties = "class",
    tie_width: TieWidth = 0.0,
    skipped: Skipped = "drop",
    epsilon: Annotated[float, typer.Option(help="How much worse than a person a judge may be, for its price.")] = 0.2,
    num_resamples: Resamples = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
    md: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write it as Markdown.")] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write it as one HTML page, with every pair to be read.")
    ] = None,
    soft: Annotated[
        Path | None,
        typer.Option("--soft-labels", metavar="FILE", help="Also write the judge's labels with mended probabilities."),
    ] = None,
    method: Annotated[
        Literal["isotonic", "platt"], typer.Option("--recalibration", help="What mends them.")
    ] = "isotonic",
) -> None:
    """People's labels and a judge's on the same pairs: does the judge agree with people as well as they with each
    other, where not, which principle, what to change, and how sure is that. Without --ai, people with each other.

    `rlaif compare diff A B` compares two judges, or two reports, pair by pair; `rlaif compare report --help` is this.
    """
    from rlaif.evaluate.comparison.gathering import gather
    from rlaif.evaluate.comparison.report import as_bytes, make_report
    from rlaif.evaluate.comparison.sections import markdown
    from rlaif.evaluate.comparison.terms import Terms
    from rlaif.evaluate.principles.section import section_of
    from rlaif.pair_dataset import write_text

    people = _people(human, more)
    judges = [find_source(one, output) for one in ai or ()]
    terms = Terms(
        ties=ties, tie_width=tie_width, skipped=skipped, epsilon=epsilon, num_resamples=num_resamples, seed=seed
    )
    gathered = gather(people, judges, terms)
    found = make_report(gathered, by_model=by_model, principles=section_of(judges))
    if md:
        write_text(md, markdown(found))
    if html:
        write_text(html, _page(found, gathered.compared, people, judges))
    if soft:
        _write_soft_labels(soft, gathered.compared, judges, method)
    if as_json:
        typer.echo(as_bytes(found).decode(), nl=False)
    else:
        _print(found)
    for path in filter(None, (md, html, soft)):
        typer.echo(f"written: {path}", err=True)


def _people(human: list[Path] | None, more: list[Path] | None) -> list[Path]:
    files = [*(human or ()), *(more or ())]
    if not human:
        do = "Give people's label files: --human FILE; `rlaif labels import` makes them of other formats."
        raise InputError("found no --human.", do=do)
    repeated = sorted({str(path) for path in files if files.count(path) > 1})
    if repeated:
        raise InputError(f"{', '.join(repeated)} is given twice.", do="Every vote counts once: name each file once.")
    return files


def find_source(named: str, output: Path) -> Path:
    """A label file, or a run's folder. DataError where it is neither."""
    from rlaif.cli.show import find_run
    from rlaif.documents import no_such_file
    from rlaif.labels.rows import KINDS

    if Path(named).is_file():
        return Path(named)
    if named.removesuffix(".gz").endswith(KINDS) and not (output / "runs" / named).exists():
        raise no_such_file(Path(named), DataError)
    return find_run(named, output)


def _page(found: "Mapping[str, Any]", compared: "Compared", people: list[Path], judges: list[Path]) -> str:
    from rlaif.evaluate.comparison.rows import compared_rows, people_rows
    from rlaif.evaluate.comparison_page.page import html_page

    names = [compared.raters[place].name for place in compared.judges]
    rows = [row for name in names for row in compared_rows(compared, name, people, judges)]
    return html_page(found, rows or people_rows(compared, people))


def _write_soft_labels(
    path: Path, compared: "Compared", files: list[Path], method: Literal["isotonic", "platt"]
) -> None:
    from rlaif.evaluate.comparison.soft_labels import soft_labels
    from rlaif.labels.file import write_votes

    if len(compared.judges) != 1:
        do = "Give the label file of one judge with --ai."
        raise InputError(f"--soft-labels wants one judge; here are {len(compared.judges)}.", do=do)
    write_votes(path, soft_labels(compared, compared.judges[0], files, method))


@app.command(
    epilog="Examples:  rlaif compare diff before.json after.json  ·"
    "  rlaif compare diff small-judge large-judge --human people.jsonl"
)
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A report (--json), or with --human a run or label file.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other one; differences are B less A.")],
    more: More = None,
    human: Human = None,
    names: Annotated[
        str,
        typer.Option("--judges", metavar="NAME,NAME", help="Which judge of A and which of B, where they have more."),
    ] = "",
    output: Annotated[Path, typer.Option(help="The folder that holds runs/.")] = Path("outputs"),
    ties: Ties = "class",
    tie_width: TieWidth = 0.0,
    skipped: Skipped = "drop",
    num_resamples: Resamples = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Is one of two judges nearer to people? On the pairs that both answered, with tests that know that pairs share
    prompts: McNemar's with the prompt as the unit, and sign flips."""
    from rlaif.evaluate.comparison.diff import diff as compare_two
    from rlaif.evaluate.comparison.terms import Terms

    wanted = [one.strip() for one in names.split(",")] if names else [None, None]
    if len(wanted) != 2:
        raise InputError(f"found {len(wanted)} names.", where="--judges", do="Write two: --judges NAME,NAME.")
    terms = Terms(ties=ties, tie_width=tie_width, skipped=skipped, num_resamples=num_resamples, seed=seed)
    sides = [_side(one, human, more, output, terms, name) for one, name in zip((first, second), wanted, strict=True)]
    called = _told_apart([name for name, _ in sides], (first, second))
    found = compare_two(called, sides[0][1], sides[1][1], num_resamples=num_resamples, seed=seed)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    from rich.console import Console

    Console().print(diff_view(found))


def _told_apart(names: list[str], given: tuple[str, str]) -> tuple[str, str]:
    """The judges' names, or what was typed where both are called the same."""
    return given if names[0] == names[1] else (names[0], names[1])


def _side(
    named: str, human: list[Path] | None, more: list[Path] | None, output: Path, terms: "Terms", judge: str | None
) -> "tuple[str, Mapping[str, Any]]":
    """(the judge's name, what it said pair by pair), from a report or from labels."""
    from rlaif.evaluate.comparison.diff import judge_of_report
    from rlaif.evaluate.comparison.gathering import gather
    from rlaif.evaluate.comparison.report import per_pair, settled

    if not human:
        return judge_of_report(_read_report(Path(named)), named, judge)
    compared = gather(_people(human, more), [find_source(named, output)], terms).compared
    by_name = {compared.raters[place].name: place for place in compared.judges}
    if judge is None and len(by_name) > 1:
        raise DataError(
            f"labels of {len(by_name)} judges: {', '.join(by_name)}.", where=named, do="Say --judges NAME,NAME."
        )
    chosen = judge or next(iter(by_name))
    if chosen not in by_name:
        raise DataError(f"no judge {chosen!r}.", where=named, do=f"There are: {', '.join(by_name)}.")
    return chosen, settled(per_pair(compared, by_name[chosen]))


def _read_report(path: Path) -> Any:
    do = "Name two reports (`rlaif compare … --json > FILE`), or two judges with --human FILE."
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise DataError(f"this is no report: {failure}.", where=str(path), do=do) from failure


# --- what a person sees


def _print(found: "Mapping[str, Any]") -> None:
    from rich.console import Console

    Console().print(report_view(found))


def report_view(found: "Mapping[str, Any]") -> "RenderableType":
    """The sentences, then a table for everything: value, interval, n."""
    from rich.console import Group
    from rich.text import Text

    from rlaif.cli.run_view import safe
    from rlaif.evaluate.comparison.sections import counted, sections
    from rlaif.evaluate.comparison.sentences import QUESTIONS

    parts: list[RenderableType] = []
    for question, said in found["sentences"].items():
        parts += [Text(QUESTIONS[question], style="bold"), safe(said), Text("")]
    parts.append(safe(counted(found)))
    parts += [safe(f"note: {note}") for note in found["notes"]]
    for section in sections(found):
        parts += [
            Text(""),
            safe(section.title),
            safe(section.about),
            _table(section),
            *([safe(section.more)] if section.more else []),
        ]
    return Group(*parts)


def _table(section: "Section") -> "RenderableType":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from rlaif.cli.run_view import safe

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("", *section.columns):
        table.add_column(safe(name), overflow="fold")
    for name, cells in section.rows:
        shown = [
            Text.assemble(safe(one.value), "\n", (safe(one.interval.replace("; ", "\n")).plain, "dim")) for one in cells
        ]
        table.add_row(safe(name), *shown)
    return table


def diff_view(found: "Mapping[str, Any]") -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from rlaif.cli.run_view import safe
    from rlaif.evaluate.comparison.sections import diff_sections

    parts: list[RenderableType] = [Text(safe(found["sentence"]).plain, style="bold")]
    for section in diff_sections(found):
        parts += [safe(section.about), _table(section)]
    return Group(*parts)
