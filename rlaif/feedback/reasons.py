"""Why a request is missing from the store, in words: what differs from the run's last time.

Each function looks at one missing request and gives the first thing that explains it, the widest first: a new judge
explains every judgment, a new prompt all of its own, an edited principle its own. `{prompts}` and `{calls}` in a
reason stand for the numbers of the group it names.
"""

from typing import Any

from rlaif.constitution import Constitution, Principle
from rlaif.constitution import diff as changes
from rlaif.engines.base import ModelIdentity
from rlaif.feedback.ask import Value
from rlaif.feedback.keys import answering
from rlaif.feedback.mode import About
from rlaif.feedback.previous import Previous
from rlaif.feedback.principles_drawn import principles_asked
from rlaif.feedback.road import Road
from rlaif.records import Prompt, ResponsePair
from rlaif.settings import JudgeSettings, PolicySettings, Settings
from rlaif.templates import Template

NEVER_RUN = "never run"
NOT_YET = "not asked yet"
NEW_PROMPTS = "new prompts: {prompts}"
NEW_ANSWERS = "new answers to compare"
OTHER_PAIRS = "other answers meet, or new ones"
PASSED_ON = "passed on by the judge before"
NOT_KEPT = "failed, refused or unfinished last time"


def why_sampled(
    prompt: Prompt, index: int, policy: PolicySettings, identity: ModelIdentity, previous: Previous | None
) -> str:
    """Why an answer has to be drawn. `prompt` was asked before where `previous` says so."""
    if previous is None:
        return NEVER_RUN
    before = previous.policy(identity)
    if before is None:
        return f"policy is new or changed: {policy.model}"
    drawn, was_drawn = (one.sampling.model_dump(exclude={"max_tokens"}) for one in (policy, before))
    if drawn != was_drawn:
        changed = ", ".join(name for name in drawn if drawn[name] != was_drawn[name])
        return f"sampling of {policy.model} changed: {changed}"
    if prompt.id not in previous.asked_prompts:
        return NEW_PROMPTS
    if index >= before.samples:
        return f"samples raised from {before.samples} to {policy.samples}"
    return NOT_KEPT


def why_outdated(value: Value, policy: PolicySettings) -> str:
    """Why a stored answer does not answer under the limit of today."""
    if policy.sampling.max_tokens > value["max_tokens"]:
        return "max_tokens raised: {calls} answers were cut"
    return "max_tokens lowered: {calls} answers are longer or were cut elsewhere"


def why_judged(
    about: About,
    settings: JudgeSettings,
    identity: ModelIdentity,
    template: Template,
    previous: Previous | None,
) -> str:
    """Why one or two answers have to be judged under a principle."""
    if previous is None:
        return NEVER_RUN
    was, prompt, principle = previous.settings.judge, about.prompt, about.principle
    if settings.mode != was.mode:
        return f"mode changed: {was.mode} → {settings.mode}"
    common = _why_compared(identity, previous, template, previous.templates.mode or previous.templates.judge)
    if common:
        return common
    if prompt.id not in previous.asked_prompts:
        return NEW_PROMPTS
    content = content_read(principle, settings.mode)
    same = [old for old in previous.constitution.enabled if content_read(old, settings.mode) == content]
    if not same:
        return why_principle(principle, previous.constitution, settings.mode)
    if not any(old.applies_to(prompt.tags) for old in same):
        return f"principle {principle.id!r} applies to more prompts: tags"
    if changed := [name for name in _OF_MODE[settings.mode] if getattr(settings, name) != getattr(was, name)]:
        return "; ".join(f"{name} changed: {getattr(was, name)} → {getattr(settings, name)}" for name in changed)
    if len(about.responses) != 2:
        return NOT_KEPT
    pair = ResponsePair(prompt, *sorted(about.responses, key=lambda one: one.id))
    if pair.id not in previous.judged_pairs:
        return NEW_ANSWERS
    now, before = settings.principles_per_pair, was.principles_per_pair
    if now != before:
        return f"principles_per_pair changed: {before or 'all'} → {now or 'all'}"
    drawn = principles_asked(pair, previous.constitution, was)
    return NOT_KEPT if content in [content_read(one, was.mode) for one in drawn] else "other principles are drawn"


def why_judged_by(road: Road, judge: int, about: About, template: Template, previous: Previous | None) -> str:
    """The same for one of a road's judges, by its number in the order they are asked."""
    member, settings = road.judges.members[judge], road.settings
    if previous is None:
        return NEVER_RUN
    alone = previous.with_judge(member.identity, member.settings)
    if settings.judges.others and alone is None and not previous.is_known(member.identity):
        return f"judge is new: {member.name}"
    why = why_judged(about, member.settings, member.identity, template, alone or previous)
    if why == NEW_ANSWERS:
        return why_new_pair(settings, previous.settings)
    if why == NOT_KEPT and judge and road.judges.is_cascade:
        return why_passed_on(settings, previous.settings)
    return why


def why_new_pair(now: Settings, before: Settings) -> str:
    """Why answers that both were there are compared only now."""
    if now.schedule == before.schedule:
        return NEW_ANSWERS if now.schedule.kind != "swiss" else OTHER_PAIRS
    kinds = [settings.schedule.kind for settings in (before, now)]
    return f"schedule changed: {' → '.join(kinds) if kinds[0] != kinds[1] else kinds[0]}"


def why_passed_on(now: Settings, before: Settings) -> str:
    """Why a judge of a cascade is asked what it was not asked before."""
    if before.judges.ask == "cascade" and now.judges.threshold > before.judges.threshold:
        return f"threshold raised from {before.judges.threshold:g} to {now.judges.threshold:g}"
    return PASSED_ON


_OF_MODE: dict[str, tuple[str, ...]] = {
    "verdict": (),
    "reasoned": ("reasonings", "reasoning_max_tokens", "reasoning_temperature"),
    "score": ("score_levels",),
}


def content_read(principle: Principle, mode: str) -> dict[str, Any]:
    """All of a principle that a judge reads in this mode."""
    return principle.scoring_content() if mode == "score" else principle.judging_content()


def why_principle(principle: Principle, before: Constitution, mode: str) -> str:
    """What is new about a principle whose words were not judged before."""
    content = content_read(principle, mode)
    if any(content_read(old, mode) == content for old in before.principles):
        return f"principle {principle.id!r} is enabled again"
    if principle.id not in {old.id for old in before.principles}:
        return f"principle {principle.id!r} is new"
    alone = before.model_copy(update={"principles": (principle,)})
    own = [change.kind for change in changes(before, alone) if change.principle_id == principle.id]
    return f"principle {principle.id!r} changed: {', '.join(one for one in own if one in content) or 'text'}"


def why_critiqued(
    prompt: Prompt, settings: JudgeSettings, identity: ModelIdentity, template: Template, previous: Previous | None
) -> str:
    """Why a pair of the dataset needs a critique."""
    if previous is None:
        return NEVER_RUN
    common = _why_compared(identity, previous, template, previous.templates.critique)
    if common:
        return common
    if settings.critique_max_tokens != previous.settings.judge.critique_max_tokens:
        return "critique_max_tokens changed"
    if previous.settings.pairs.critiques == "none":
        return "critiques are turned on"
    return "the pairs of the dataset change" if prompt.id in previous.asked_prompts else NEW_PROMPTS


def _why_compared(identity: ModelIdentity, previous: Previous, now: Template, before: Template) -> str:
    if answering(identity) != answering(previous.judge):
        if identity.name != previous.judge.name:
            return f"judge model changed: {previous.judge.name} → {identity.name}"
        changed = [name for name, value in answering(identity).items() if getattr(previous.judge, name) != value]
        return f"judge model changed: {', '.join(changed)} of {identity.name}"
    return f"template changed: {now.name}" if now.digest != before.digest else ""
