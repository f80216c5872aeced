"""`rlaif explain`: how one label came about, from the exact prompts to the pooled probability."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.project import StoreOption, store_of_run
from rlaif.cli.show import REVISIONS, RUN, find_label, find_run

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rich.console import RenderableType

app = typer.Typer()


@app.command(epilog="Examples:  rlaif explain quickstart 3fa9  ·  rlaif explain quickstart 3fa9 --prompts --json")
def explain(
    run: Annotated[str, typer.Argument(help="A run's name, or its folder.")],
    pair: Annotated[str, typer.Argument(help="A pair's id, or as much of its beginning as is unique.")],
    output: Annotated[Path, typer.Option(help="The folder that holds runs/.")] = Path("outputs"),
    store: StoreOption = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Show every prompt in full, not the first alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with all prompts.")] = False,
) -> None:
    """Show what the judge saw and gave, per principle and order, and how that became this label, step by step.

    The prompts are rendered again from what the run saved; the numbers come from the store. No model is asked.
    """
    from rich.console import Console

    from rlaif.feedback.explain import explain as explained
    from rlaif.store import Store

    folder = find_run(run, output, (RUN, REVISIONS))
    with Store(store or store_of_run(folder)) as opened:
        found = explained(folder, find_label(folder, pair), opened).as_json()
        for damage in opened.damage:
            typer.echo(f"unreadable: {damage}", err=True)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        Console().print(explanation_view(found, prompts))


def explanation_view(found: dict[str, Any], all_prompts: bool) -> "RenderableType":
    """The answers, each principle with both orders, and the sum."""
    from rich.console import Group
    from rich.text import Text

    from rlaif.cli.run_view import safe

    parts: list[RenderableType] = [Text(f"Pair {found['pair_id']}", style="bold")]
    parts += [Text.assemble((f"{one['role']}: ", "bold"), safe(one["content"])) for one in found["conversation"]]
    parts += [Text.assemble((f"{name}: ", "bold"), safe(found[f"response_{name}"])) for name in ("x", "y")]
    for number, step in enumerate(found["steps"]):
        parts += [Text(""), Text(f"Principle {step['principle_id']}", style="bold")]
        for place, order in enumerate(step["orders"]):
            if all_prompts or number == place == 0:
                parts += [Text("what the judge saw:", style="dim"), safe(order["prompt"])]
            if order["reasons"]:
                parts += [Text("what the judge wrote before its verdict:", style="dim"), safe(order["reasons"])]
            said_by = f"{order['judge']}, " if step["judges"] else ""
            parts.append(Text("  " + said_by + order_line(order)))
        if step["judges"]:
            parts.append(Text("  " + pool_line(step, found["pool"])))
        parts.append(Text("  " + step_line(step, found["floor"], found["total_weight"])))
    return Group(*parts, Text(""), *(Text(line) for line in label_lines(found)))


def order_line(order: dict[str, Any]) -> str:
    """One request and its answer."""
    if order["score"] is not None:
        return f"{order['shown_first']} alone: mean score {order['score']:.3f}, uncovered {order['uncovered']:.4f}"
    begin = f"{order['shown_first']} shown first: "
    if order["probability_x"] is None:
        return f"{begin}no verdict, {order['outcome']}: {order['reason']}"
    logs = [order["logprob_a"], order["logprob_b"]]
    first, second = ("-inf" if log is None else f"{log:.4f}" for log in logs)
    odds = f"log P(A) {first}, log P(B) {second}, uncovered {order['uncovered']:.4f}"
    return f"{begin}{odds} → P(A) = {order['probability_a']:.4f} → P(x) = {order['probability_x']:.4f}"


def pool_line(step: dict[str, Any], pool: str) -> str:
    """What each of several judges said, and how that became one verdict."""
    told = [
        f"{one['judge']} "
        + ("nothing" if one["probability"] is None else f"P(x) = {one['probability']:.4f} × weight {one['weight']:g}")
        for one in step["judges"]
    ]
    how = {"mean": "mean of log-odds", "majority": "majority", "last": "the last that was asked"}[pool]
    return f"{'; '.join(told)} → {how if len(told) > 1 else 'nobody else was asked'}"


def step_line(step: dict[str, Any], floor: float, total_weight: float) -> str:
    """One principle's way into the label."""
    if step["probability"] is None:
        return f"no verdict {'in both orders' if step['orders'] else 'of its check'}: it has no say"
    line = f"{how_heard(step)} P(x) = {step['probability']:.4f} → log-odds in [{floor:g}, {1 - floor:g}]"
    line += f" {step['log_odds']:+.4f}"
    if step["share"] is None:
        return f"{line}; weight {step['weight']:g}: it has no say"
    return f"{line} × weight {step['weight']:g} / {total_weight:g} → share {step['share']:+.4f}"


def how_heard(step: dict[str, Any]) -> str:
    """What a principle's probability was made of."""
    if not step["orders"]:
        return "its check computed"
    if step["judges"]:
        return "its judges together"
    is_scored = any(order["score"] is not None for order in step["orders"])
    return "difference of the two scores" if is_scored else "mean of both orders"


def label_lines(found: dict[str, Any]) -> list[str]:
    """The sum of the shares, and whether it is what the run recorded."""
    if found["probability_x"] is None:
        lines = ["No principle has a say: there is no label."]
    else:
        kind = "" if found["label_kind"] == "soft" else f" → {found['label_kind']} label"
        lines = [f"Sum of the shares {found['log_odds']:+.4f}{kind} → P(x is better) = {found['probability_x']:.6f}"]
    if found["probability_x"] != found["recorded"]:
        lines.append(f"The run recorded {found['recorded']}: the store no longer holds the same judgments.")
    return lines
