"""`rlaif constitution`: check, show and compare constitutions; try them on a judge, and on a run's labels."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli import constitution_runs

if TYPE_CHECKING:  # loaded inside the commands, so that `rlaif --help` stays fast
    from rlaif.constitution import Change, Constitution, Finding, Principle
    from rlaif.documents import Document

app = typer.Typer(
    help="Check, show, compare and test constitutions. Only `test` asks a model.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_File = Annotated[str, typer.Argument(help="A YAML file, or a shipped constitution's name: default, small.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(help="YAML files, or shipped names: default, small.")],
    as_json: _AsJson = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when there are warnings.")] = False,
) -> None:
    """Find what is wrong with constitutions, and what is likely a mistake.

    Errors (exit code 2): malformed YAML, unknown keys, missing or empty texts, duplicate ids or texts, bad weights,
    circles of `extends`. Warnings: near-duplicate principles, questions that ask for no choice, over-long principles.

    Examples: `rlaif constitution check constitution/default.yaml`, `rlaif constitution check --strict my/*.yaml`
    """
    from rlaif.constitution import lint, read_constitution
    from rlaif.errors import ConstitutionError

    reports: list[dict[str, Any]] = []
    errors: list[str] = []
    for file in files:
        try:
            constitution, document = read_constitution(file)
        except ConstitutionError as error:
            errors.append(str(error))
            reports.append({"file": file, "error": str(error)})
            continue
        warnings = [_warning(finding, document) for finding in lint(constitution)]
        reports.append({"file": file, **_summary(constitution), "warnings": warnings})
        if not as_json:
            _print_checked(file, constitution, warnings)
    if as_json:
        _print_json(reports)
        if errors:
            raise typer.Exit(ConstitutionError.exit_code)
    if errors:
        raise ConstitutionError("\n\n".join(errors))
    if strict and any(report["warnings"] for report in reports):
        raise typer.Exit(1)


@app.command()
def show(file: _File, as_json: _AsJson = False) -> None:
    """Show a constitution's principles, with `extends` resolved.

    Examples: `rlaif constitution show default`, `rlaif constitution show my.yaml --json`
    """
    from rlaif.constitution import load_constitution

    constitution = load_constitution(file)
    if as_json:
        value = constitution.model_dump(mode="json")
        for principle in value["principles"]:
            principle["tags"].sort()  # a set has no order; the output should be the same each time
        _print_json(value)
        return
    rows = [
        (
            principle.id if principle.enabled else f"{principle.id} (off)",
            f"{principle.weight:g}",
            ", ".join(sorted(principle.tags)) or "all",
            f"{principle.text}\n→ {principle.question or _checked(principle)}",
        )
        for principle in constitution.principles
    ]
    version = f" {constitution.version}" if constitution.version else ""
    _print_table(f"{constitution.name}{version}", ("id", "weight", "prompts", "text → question"), rows)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="The constitution labels were made with.")],
    after: Annotated[str, typer.Argument(help="The edited one.")],
    as_json: _AsJson = False,
) -> None:
    """Name what changed between two constitutions, and which changes ask the judge again.

    Only new words, newly enabled principles and wider tags cost judge calls, and each asks about its own principle
    alone. Ids, weights, order, names and comments cost none. Anchors are read in mode `score` only.

    Example: `rlaif constitution diff constitution/default.yaml my.yaml`
    """
    from dataclasses import asdict

    from rlaif.constitution import diff as compare
    from rlaif.constitution import load_constitution, principles_to_judge, principles_to_score

    old, new = load_constitution(before), load_constitution(after)
    changes = compare(old, new)
    to_judge = [principle.id for principle in principles_to_judge(old, new)]
    to_score = [principle.id for principle in principles_to_score(old, new)]
    if as_json:
        asked = {"to_judge": to_judge, "to_score": to_score, "num_principles": len(new.enabled)}
        _print_json({"changes": [asdict(c) for c in changes], **asked})
        return
    if not changes:
        typer.echo("No difference.")
        return
    _print_table(f"{before} → {after}", ("principle", "change", "before", "after", "costs"), map(_change_row, changes))
    typer.echo(f"To be judged anew: {_share(to_judge, len(new.enabled))}.")
    if to_score != to_judge:
        typer.echo(f"With judge.mode score: {_share(to_score, len(new.enabled))}.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of constitutions, for completion and checks in an editor.

    Example: `rlaif constitution schema > constitution/schema.json`, then put
    `# yaml-language-server: $schema=schema.json` on the first line of a constitution beside it.
    """
    from rlaif.constitution import json_schema

    _print_json(json_schema())


app.command("test")(constitution_runs.put_to_judge)
app.command()(constitution_runs.ablate)


def _checked(principle: "Principle") -> str:
    from rlaif.checks import describe

    return f"check: {describe(principle.check)}" if principle.check else ""


def _summary(constitution: "Constitution") -> dict[str, Any]:
    counts = {"num_principles": len(constitution.principles), "num_enabled": len(constitution.enabled)}
    return {"name": constitution.name, **counts}


def _warning(finding: "Finding", document: "Document") -> dict[str, str]:
    return {
        "rule": finding.rule,
        "principle": finding.principle_id,
        "where": str(document.where(finding.key_path)),
        "message": finding.message,
    }


def _print_checked(file: str, constitution: "Constitution", warnings: list[dict[str, str]]) -> None:
    num_off = len(constitution.principles) - len(constitution.enabled)
    off = f" ({num_off} more off)" if num_off else ""
    counted = f"{len(warnings)} warning{'s' * (len(warnings) != 1)}" if warnings else "no warnings"
    typer.echo(f"{file}: {constitution.name}, {len(constitution.enabled)} principles{off}, {counted}")
    for warning in warnings:
        named = f'principle "{warning["principle"]}": ' if warning["principle"] else ""
        typer.echo(f"{warning['where']}: {named}{warning['message']} [{warning['rule']}]")


def _share(asked: list[str], num_principles: int) -> str:
    named = f": {', '.join(asked)}" if asked else ""
    return f"{len(asked)} of {num_principles} principles, {len(asked) / num_principles:.0%} of them{named}"


def _change_row(change: "Change") -> tuple[str, ...]:
    costs = {
        "nothing": "nothing",
        "judgments": "judge calls",
        "scores": "judge calls in mode score",
        "revisions": "critiques and revisions",
    }
    return (change.principle_id, change.kind, change.before, change.after, costs[change.cost])


def _print_table(title: str, headers: tuple[str, ...], rows: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, show_lines=True)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: brackets in a principle are not markup
    Console().print(table)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
