"""The ways of judging, by the settings' `judge.mode`."""

from rlaif.constitution import Constitution
from rlaif.engines.base import ModelIdentity
from rlaif.feedback.mode import Mode
from rlaif.feedback.mode_reasoned import ReasonedMode
from rlaif.feedback.mode_score import ScoreMode
from rlaif.feedback.mode_verdict import VerdictMode
from rlaif.settings import JudgeSettings
from rlaif.templates import Template


def mode_of(settings: JudgeSettings, constitution: Constitution, template: Template, identity: ModelIdentity) -> Mode:
    """The mode of these settings; `template` is the one through which its judge reads."""
    if settings.mode == "reasoned":
        return ReasonedMode(constitution, settings, template, identity)
    if settings.mode == "score":
        return ScoreMode(constitution, settings, template, identity)
    return VerdictMode(constitution, settings, template, identity)
