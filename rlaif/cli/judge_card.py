"""`rlaif judge-card`: how good a judge is, from a finished run, or by asking it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.project import SetOption, StoreOption, open_project, store_of_run
from rlaif.cli.show import find_run
from rlaif.errors import InputError

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rich.console import RenderableType

    from rlaif.cli.project import Project
    from rlaif.evaluate.judge_card.card import Card
    from rlaif.evaluate.judge_card.making import Beside, Probed

app = typer.Typer()


@app.command(
    epilog="Examples:  rlaif judge-card quickstart --html card.html  ·"
    "  rlaif judge-card quickstart --labels people.jsonl  ·"
    "  rlaif judge-card --judge tiny-judge --pairs quickstart --plan  ·"
    "  rlaif judge-card --judge Qwen/Qwen2.5-14B-Instruct --probes judge_bias_probes --json"
)
def judge_card(
    run: Annotated[str | None, typer.Argument(help="A finished run's name, or its folder: no model is asked.")] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="MODEL", help="Ask this judge, with the settings' other values.")
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="With --judge: ask about the pairs of this run, or label file, not about ours."
        ),
    ] = None,
    probes: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="With --judge: a folder of published probes (raw.jsonl and its changes)."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --judge: so many pairs of each source at most.")
    ] = None,
    is_plain: Annotated[
        bool, typer.Option("--plain", help="With --judge: the pairs as they are, without changed answers.")
    ] = False,
    labels: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="People's labels on these pairs, for calibration.")
    ] = None,
    judge_family: Annotated[
        str | None,
        typer.Option(metavar="FAMILY", help="The judge's family, where its name does not tell: llama, qwen."),
    ] = None,
    policy_family: Annotated[
        list[str] | None, typer.Option(metavar="POLICY=FAMILY", help="A policy's family, where its name does not tell.")
    ] = None,
    config: Annotated[Path, typer.Option("--config", "-c", help="With --judge: the settings file.")] = Path(
        "rlaif.yaml"
    ),
    sets: SetOption = None,
    output: Annotated[Path, typer.Option(help="The folder that holds runs/.")] = Path("outputs"),
    store: StoreOption = None,
    is_plan: Annotated[bool, typer.Option("--plan", help="With --judge: say what would be asked, and stop.")] = False,
    is_confirmed: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a large one.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write it as one HTML page.")] = None,
    md: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write it as Markdown.")] = None,
) -> None:
    """How good a judge is: answers it did not give, what the place decides, what sways it, calibration, principles
    against each other. Every figure has a 95 % interval, clustered by prompt, and its n.

    Of a run it is computed from what is stored. With --judge the judge is asked about pairs and their changed twins,
    through the store like everything else: what was asked once is not asked again.
    """
    from rlaif.evaluate.judge_card.making import Beside, card_of_run, find_probes
    from rlaif.store import Store

    families = _families(policy_family or [])
    beside = Beside(labels=tuple(labels or ()), judge_family=judge_family, policy_families=families)
    for_asking = {"--pairs": pairs, "--probes": probes, "--limit": limit, "--plain": is_plain}
    _check(run, judge, for_asking | {"--set": sets, "--plan": is_plan})
    if run is not None:
        folder = find_run(run, output)
        card = card_of_run(folder, lambda: Store(store or store_of_run(folder)), beside)
    else:
        project = open_project(config, [*(sets or []), f"judge.model={json.dumps(judge)}"])
        probed = find_probes(_source(pairs, output), probes or [], limit, is_changed=not is_plain)
        found = _ask(project, probed, beside, store, is_plan=is_plan, is_confirmed=is_confirmed)
        if found is None:
            return
        card = found
    _give(card, as_json=as_json, html=html, md=md)


def _check(run: str | None, judge: str | None, for_asking: dict[str, Any]) -> None:
    """One of the two forms, and no flag of the other."""
    do = "Give a finished run, whose judge is looked at without asking it, or --judge MODEL, which is asked."
    if (run is None) == (judge is None):
        raise InputError("found both a run and --judge." if run else "found neither a run nor --judge.", do=do)
    stray = [name for name, value in for_asking.items() if value]
    if run is not None and stray:
        raise InputError(f"{', '.join(stray)} {'go' if stray[1:] else 'goes'} with --judge alone.", do=do)


def _source(pairs: str | None, output: Path) -> Path | None:
    """A label file, or a run's folder."""
    if pairs is None:
        return None
    return Path(pairs) if Path(pairs).is_file() else find_run(pairs, output)


def _families(told: list[str]) -> dict[str, str]:
    """POLICY=FAMILY, the policy as the settings name it."""
    found = {}
    for text in told:
        policy, equals, family = text.rpartition("=")
        if not (policy and equals and family):
            do = "Write e.g. --policy-family my/model=llama"
            raise InputError("found no POLICY=FAMILY.", where=f"--policy-family {text}", do=do)
        found[policy] = family
    return found


def _ask(
    project: "Project", probed: "Probed", beside: "Beside", place: str | None, *, is_plan: bool, is_confirmed: bool
) -> "Card | None":
    """Plan, ask what is missing, and read the answers; None where only the plan was wanted."""
    from rich.console import Console

    from rlaif.cli.generate import agree
    from rlaif.cli.plan import plan_view
    from rlaif.cli.progress import ConsoleProgress
    from rlaif.constitution import load_constitution
    from rlaif.evaluate.judge_card.asking import ask_judge, judge_road, pairs_to_ask, plan_asking
    from rlaif.evaluate.judge_card.making import card_of_asked
    from rlaif.feedback.rates import read_rates
    from rlaif.store import Store
    from rlaif.store.gc import card_folder

    settings, outputs = project.settings, project.base / project.settings.output
    constitution = load_constitution(settings.constitution, base=project.base)
    road = judge_road(settings, constitution, project.base, outputs / "judge-card.log")
    progress = ConsoleProgress(Console(stderr=True))
    with Store(place or settings.store_place(project.base), will_append=not is_plan) as store:
        rates = read_rates(outputs / "runs", settings)
        plan = plan_asking(road, pairs_to_ask(probed.probes), known=store, rates=rates)
        if is_plan:
            Console().print(plan_view(plan))
            return None
        agree(plan, progress, is_confirmed)
        wish = card_folder(outputs, constitution.name, settings.judge.model, probed.source)
        asked = ask_judge(road, probed.probes, store=store, progress=progress, wish=wish)
        for damage in store.damage:
            progress.note(f"unreadable result, asked again: {damage}")
    return card_of_asked(asked, road, probed.policies, beside, probed.source, probed.notes)


def _give(card: "Card", *, as_json: bool, html: Path | None, md: Path | None) -> None:
    """Print the card, and write what else was wanted."""
    from rich.console import Console

    from rlaif.evaluate.judge_card.page import html_page
    from rlaif.evaluate.judge_card.sections import markdown
    from rlaif.pair_dataset import write_text

    if html:
        write_text(html, html_page(card))
    if md:
        write_text(md, markdown(card))
    if as_json:
        typer.echo(json.dumps(card.as_json(), ensure_ascii=False))
    else:
        Console().print(card_view(card))
    for path in filter(None, (html, md)):
        typer.echo(f"written: {path}", err=True)


def card_view(card: "Card") -> "RenderableType":
    """The sentence, then a table for everything measured: value, interval, n."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from rlaif.cli.run_view import safe
    from rlaif.evaluate.judge_card.sections import sections

    about = (
        f"{card.source}; mode {card.mode}; {card.pairs:,} pairs of {card.prompts:,} prompts; 95 % intervals by prompt"
    )
    parts: list[RenderableType] = [Text.assemble((safe(card.sentence).plain, "bold")), safe(about)]
    parts += [safe(f"note: {note}") for note in card.notes]
    for section in sections(card):
        parts += [Text(""), Text(section.title, style="bold"), Text(section.about, style="dim")]
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("", *section.columns):
            table.add_column(safe(name), overflow="fold")
        for name, cells in section.rows:
            table.add_row(
                safe(name),
                *(Text.assemble(cell.value, "\n", (cell.interval.replace("; ", "\n"), "dim")) for cell in cells),
            )
        parts.append(table)
    return Group(*parts)
