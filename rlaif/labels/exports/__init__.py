"""The formats that are written: `EXPORTS`, each an `Export`. What a format cannot hold is found by reading it back."""

from rlaif.labels.exports.base import Export
from rlaif.labels.exports.rows import ALPACA_EVAL_ROWS, TRL_ROWS
from rlaif.labels.exports.tools import ARGILLA_RECORDS, ICAI_PAIRS, LABEL_STUDIO_TASKS

EXPORTS: dict[str, Export] = {
    one.name: one for one in (TRL_ROWS, ICAI_PAIRS, ARGILLA_RECORDS, LABEL_STUDIO_TASKS, ALPACA_EVAL_ROWS)
}

__all__ = ["EXPORTS", "Export"]
