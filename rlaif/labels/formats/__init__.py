"""The formats that are read. A format is one `Format`: how it is recognised, and what votes a row of it holds.

A new one is a function from a row to what was found in it, and a line in FORMATS. The order is that of recognition:
what asks for more comes first.
"""

from collections.abc import Sequence

from rlaif.labels.formats.arena import ARENA, ARENA_KAGGLE
from rlaif.labels.formats.argilla import ARGILLA
from rlaif.labels.formats.base import Format, Row
from rlaif.labels.formats.chosen import HH, TRL, ULTRAFEEDBACK_BINARIZED
from rlaif.labels.formats.icai import ICAI
from rlaif.labels.formats.label_studio import LABEL_STUDIO
from rlaif.labels.formats.numbered import (
    ALPACA_EVAL,
    ICAI_CSV,
    LLMBAR,
    LLMBAR_JUDGMENTS,
    PANDALM,
    PANDALM_VERDICTS,
    PKU,
)
from rlaif.labels.formats.runs import RUN
from rlaif.labels.formats.scored import HELPSTEER, SHP, SUMMARIES, ULTRAFEEDBACK, WEBGPT
from rlaif.labels.formats.trees import OPENASSISTANT

FORMATS: tuple[Format, ...] = (
    RUN,
    ICAI,
    LABEL_STUDIO,
    ARGILLA,
    OPENASSISTANT,
    ARENA,
    ARENA_KAGGLE,
    SUMMARIES,
    WEBGPT,
    SHP,
    PKU,
    HELPSTEER,
    ULTRAFEEDBACK,
    ALPACA_EVAL,
    PANDALM,
    PANDALM_VERDICTS,
    LLMBAR,
    LLMBAR_JUDGMENTS,
    ICAI_CSV,
    ULTRAFEEDBACK_BINARIZED,
    HH,
    TRL,
)
BY_NAME = {one.name: one for one in FORMATS}


def recognise(rows: Sequence[Row]) -> Format | None:
    """The first format that all of these rows are of."""
    return next((one for one in FORMATS if rows and all(one.recognises(row) for row in rows)), None)


__all__ = ["BY_NAME", "FORMATS", "Format", "recognise"]
