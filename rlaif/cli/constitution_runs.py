"""`rlaif constitution test` and `ablate`: does the judge follow the principles, and do they matter?"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.project import ConfigOption, SetOption, open_project
from rlaif.cli.show import find_run

if TYPE_CHECKING:  # loaded inside the commands, so that `rlaif --help` stays fast
    from rlaif.feedback.ablate import Influence
    from rlaif.feedback.principle_tests import Tested

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def put_to_judge(
    file: Annotated[str, typer.Argument(help="A YAML file, or a shipped constitution's name.")],
    config: ConfigOption = Path("rlaif.yaml"),
    sets: SetOption = None,
    as_json: _AsJson = False,
) -> None:
    """Put the principles' `tests` to the judge of the settings, and exit with 1 when it prefers the other answer.

    Each test is judged in both orders under its own principle and kept in the store: only what changed is asked again.

    Example: `rlaif constitution test constitution/default.yaml --config rlaif.yaml`
    """
    from rich.console import Console

    from rlaif.cli.progress import ConsoleProgress
    from rlaif.constitution import load_constitution
    from rlaif.errors import ConstitutionError
    from rlaif.feedback.run import test_constitution

    project, constitution = open_project(config, sets), load_constitution(file)
    if not any(principle.tests for principle in constitution.enabled):
        raise ConstitutionError(
            "no enabled principle has `tests`.", where=file, do="Add some; constitution/README.md shows how."
        )
    progress = ConsoleProgress(Console(stderr=True))
    results = test_constitution(constitution, project.settings, base=project.base, progress=progress)
    if as_json:
        typer.echo(json.dumps([_test_json(one) for one in results], indent=2, ensure_ascii=False))
    else:
        _print_tests(results)
    if not all(one.is_passed for one in results):
        raise typer.Exit(1)


def ablate(
    run: Annotated[str, typer.Argument(help="A run's name, or its folder.")],
    output: Annotated[Path, typer.Option(help="The folder that holds runs/.")] = Path("outputs"),
    as_json: _AsJson = False,
) -> None:
    """What each principle does to a run's labels: which flip without it, and at which weight a label starts to flip.

    A pure function of labels.parquet: no model is asked.

    Examples: `rlaif constitution ablate quickstart`, `rlaif constitution ablate quickstart --json`
    """
    from rlaif.feedback.ablate import ablate as influences
    from rlaif.feedback.previous import read_settings
    from rlaif.pair_dataset import read_rows

    folder = find_run(run, output)
    settings = read_settings(folder)
    rows = read_rows(folder / "labels.parquet")
    found = influences(rows, settings.pairs.probability_floor, settings.label.kind)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False))
    else:
        _print_influences(found)


def _test_json(one: "Tested") -> dict[str, Any]:
    named = {"principle": one.principle_id, "number": one.number, "passed": one.is_passed}
    figures = {"probability": one.probability, "order_decided": one.is_order_decided, "reason": one.reason}
    return named | figures | one.test.model_dump()


def _print_tests(results: "list[Tested]") -> None:
    rows = [
        (
            f"{one.principle_id} {one.number}",
            "passed" if one.is_passed else "FAILED",
            "–" if one.probability is None else f"{one.probability:.3f}",
            one.reason or ("the order decided" if one.is_order_decided else ""),
            one.test.conversation,
            f"{one.test.better}: {one.test.response_a if one.test.better == 'A' else one.test.response_b}",
        )
        for one in results
    ]
    _print_table(("test", "", "P(better)", "note", "conversation", "better"), rows)
    failed = sum(not one.is_passed for one in results)
    typer.echo(f"{len(results) - failed} of {len(results)} tests passed.")


def _print_influences(found: "list[Influence]") -> None:
    rows = [
        (
            one.principle_id,
            f"{one.weight:g}",
            f"{one.labels:,}",
            f"{one.flips_without:,}",
            f"{one.ties_without:,}",
            f"{one.lost_without:,}",
            "–" if one.falls_to is None else f"{one.falls_to:.4g}",
            "–" if one.rises_to is None else f"{one.rises_to:.4g}",
        )
        for one in found
    ]
    headers = ("weight", "labels", "flip without", "tie without", "lost without", "flips begin below", "and above")
    _print_table(("principle", *headers), rows)


def _print_table(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from rlaif.cli.run_view import safe

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(safe(cell) for cell in row))
    Console().print(table)
