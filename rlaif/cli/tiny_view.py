"""What `rlaif tiny shares` shows: each principle's share before and after, and how far the model went."""

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlaif.numbers.figures import Figure, NotDefined
from rlaif.tiny.wordings import PREFER
from rlaif.train.tiny.shares import Shares


def shares_view(found: Shares, model: str, before: str) -> RenderableType:
    """The table of shares, the KL, and what should not have moved."""
    about = (
        f"Answers that do as the principle asks, by the grammar's ground truth: {found.num_answers} answers of each "
        f"model to {found.num_prompts} new prompts. before: {before}, after: {model}"
    )
    quality = (("end by themselves", found.ended_by_themselves), ("sentences known", found.sentences_of_the_world))
    lines = [
        f"KL(after ‖ before): {_number(found.kl)} nats per answer",
        *(f"{name}: {old:.1%} before, {new:.1%} after" for name, (old, new) in quality),
        "words per answer: {:.1f} before, {:.1f} after".format(*found.mean_words),
        *(f"not measured: {name}, its words are not in the grammar" for name in found.unread),
    ]
    return Group(Text(about), _table(found), Text("\n".join(lines)))


def _table(found: Shares) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("principle", "asks for"):
        table.add_column(name, no_wrap=True)
    for name in ("before", "after", "change, 95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for one in found.principles:
        asks = one.asks.property if one.asks.direction == PREFER else f"not {one.asks.property}"
        verdict = "risen" if one.has_risen else "not shown"
        table.add_row(one.id, asks, _share(one.before), _share(one.after), _points(one.change), verdict)
    return table


def _share(figure: Figure) -> str:
    return "–" if isinstance(figure, NotDefined) else f"{figure.value:.1%}"


def _points(figure: Figure) -> str:
    """A difference of shares, in points."""
    if isinstance(figure, NotDefined):
        return "–"
    ends = [f"{100 * end:+.1f}" if end is not None else "?" for end in (figure.low, figure.high)]
    return f"{100 * figure.value:+.1f} ({ends[0]} to {ends[1]})"


def _number(figure: Figure) -> str:
    if isinstance(figure, NotDefined):
        return "–"
    ends = [f"{end:.2f}" if end is not None else "?" for end in (figure.low, figure.high)]
    return f"{figure.value:.2f} ({ends[0]} to {ends[1]})"
