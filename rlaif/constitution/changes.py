"""What changed between two constitutions, and what each change costs.

A stored judgment depends on what the judge saw of one principle (`Principle.judging_content`, or `scoring_content` of
a judge that scores) and on nothing else of the constitution. So only three kinds of change ask the judge again, each
about one principle alone: new words for the judge, a principle that was not judged before, and tags that let in prompts
it was not judged on. A principle with a check is computed and asks nobody.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.checks import describe
from rlaif.constitution.principles import Constitution, Principle
from rlaif.identity import digest

Cost = Literal["nothing", "judgments", "scores", "revisions"]

_JUDGED = ("text", "question", "examples", "enabled")
_REVISED = ("critique_request", "revision_request")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. `kind` is a key of the YAML, or added, removed, renamed, order.

    `cost` is "judgments" when the judge is asked again about this principle (and no other), "scores" when it is so
    only where it scores each answer alone, "revisions" when only critiques and revisions of answers are made again,
    "nothing" when labels are merely recomputed from what is stored. A judge that scores reads no question and no
    examples; what it is asked, `principles_to_score` says.
    """

    kind: str
    principle_id: str
    before: str
    after: str
    cost: Cost


def diff(before: Constitution, after: Constitution) -> list[Change]:
    """The differences in the order of `after`'s principles, the removed ones last. Equal constitutions have none."""
    changes = [
        Change(kind=key, principle_id="", before=getattr(before, key), after=getattr(after, key), cost="nothing")
        for key in ("name", "version", "description")
        if getattr(before, key) != getattr(after, key)
    ]
    was = {principle.id: principle for principle in before.principles}
    renamed = _renamed(before, after)
    for principle in after.principles:
        if principle.id in was:
            changes += _changed(was[principle.id], principle)
        elif principle.id in renamed:
            old = renamed[principle.id]
            rename = Change(
                kind="renamed", principle_id=principle.id, before=old.id, after=principle.id, cost="nothing"
            )
            changes += [rename, *_changed(old, principle)]
        else:
            cost: Cost = "judgments" if principle.enabled and principle.check is None else "nothing"
            changes.append(Change(kind="added", principle_id=principle.id, before="", after=principle.text, cost=cost))
    kept = {principle.id for principle in after.principles} | {old.id for old in renamed.values()}
    for old in before.principles:
        if old.id not in kept:
            gone = Change(kind="removed", principle_id=old.id, before=old.text, after="", cost="nothing")
            changes.append(gone)
    return changes + _reordered(before, after, renamed)


def principles_to_judge(before: Constitution, after: Constitution) -> tuple[Principle, ...]:
    """The principles of `after` a judge that compares must be asked about, when everything under `before` is stored.

    Compared by what the judge sees, so a principle that took over another's words costs nothing.
    """
    return _to_ask(before, after, Principle.judging_content)


def principles_to_score(before: Constitution, after: Constitution) -> tuple[Principle, ...]:
    """The same for a judge that scores each answer alone."""
    return _to_ask(before, after, Principle.scoring_content)


def _to_ask(
    before: Constitution, after: Constitution, read: Callable[[Principle], dict[str, Any]]
) -> tuple[Principle, ...]:
    judged: dict[str, list[Principle]] = {}
    for principle in before.enabled:
        judged.setdefault(digest(read(principle)), []).append(principle)
    return tuple(
        principle
        for principle in after.enabled
        if principle.check is None
        and all(_lets_in_more(old, principle) for old in judged.get(digest(read(principle)), []))
    )


def _renamed(before: Constitution, after: Constitution) -> dict[str, Principle]:
    """New ids of principles whose old id is gone and whose words are still there."""
    ids_before = {principle.id for principle in before.principles}
    ids_after = {principle.id for principle in after.principles}
    gone = {digest(old.judging_content()): old for old in before.principles if old.id not in ids_after}
    return {
        new.id: gone[words]
        for new in after.principles
        if new.id not in ids_before and (words := digest(new.judging_content())) in gone
    }


def _changed(old: Principle, new: Principle) -> Iterator[Change]:
    for key in type(new).model_fields:
        if key == "id" or getattr(old, key) == getattr(new, key):
            continue
        yield Change(
            kind=key, principle_id=new.id, before=_shown(old, key), after=_shown(new, key), cost=_cost(key, old, new)
        )


def _cost(key: str, old: Principle, new: Principle) -> Cost:
    if key in _REVISED:
        return "revisions"
    if not new.enabled or new.check is not None:
        return "nothing"
    if key == "anchors":
        return "scores"
    return "judgments" if key in _JUDGED or (key == "tags" and _lets_in_more(old, new)) else "nothing"


def _lets_in_more(old: Principle, new: Principle) -> bool:
    """Whether prompts may be judged under `new` that were not under `old`."""
    return bool(old.tags) and (not new.tags or not new.tags <= old.tags)


def _shown(principle: Principle, key: str) -> str:
    value = getattr(principle, key)
    if key == "tags":
        return ", ".join(sorted(value)) or "all prompts"
    if key == "check":
        return describe(value) if value else ""
    if key == "anchors":
        return "; ".join(f"{score}: {text}" for score, text in sorted((value or {}).items()))
    if key in ("examples", "tests"):
        return f"{len(value)} {key}"
    if key == "enabled":
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else value or ""


def _reordered(before: Constitution, after: Constitution, renamed: dict[str, Principle]) -> list[Change]:
    was = [principle.id for principle in before.principles]
    now = [renamed[p.id].id if p.id in renamed else p.id for p in after.principles]
    was, now = [i for i in was if i in set(now)], [i for i in now if i in set(was)]
    if was == now:
        return []
    return [Change(kind="order", principle_id="", before=", ".join(was), after=", ".join(now), cost="nothing")]
