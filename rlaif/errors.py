"""Every error this package raises on purpose.

    RlaifError                     exit code
    ├── InputError                 2   something the user wrote: a file, a setting, a flag
    │   ├── SettingsError              rlaif.yaml and the flags that override it
    │   ├── ConstitutionError          a constitution document
    │   ├── TemplateError              a file of prompts/templates
    │   └── DataError                  prompts, datasets, labels
    ├── EngineError                3   a model could not be reached, loaded or kept alive
    │   ├── EngineUnavailable          the library or the server is not there
    │   └── EngineCrashed              it was there, and died
    ├── StoreError                 4   results could not be read or written (disk full, damaged file)
    ├── IncompleteRun              5   the work ended, but too many requests have no verdict
    ├── BudgetReached              6   the work stopped at a limit the user set; it can be continued
    └── TrainingStopped            7   a loss that is no number, a limit, an alarm of the watch

A message says what was found, where (`file:line:column`), and what to do next. The command line prints it without a
traceback and exits with the code above; Ctrl-C exits with 130.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a file a person can open. Lines and columns count from 1."""

    path: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [self.path] + [str(n) for n in (self.line, self.column) if n is not None]
        return ":".join(parts)


class RlaifError(Exception):
    """Base of all errors of this package."""

    exit_code: ClassVar[int] = 1

    def __init__(self, found: str, *, where: Where | str | None = None, do: str | None = None) -> None:
        self.found, self.where, self.do = found, where, do
        lines = [f"{where}: {found}" if where else found]
        if do:
            lines.append(do)
        super().__init__("\n".join(lines))


class InputError(RlaifError):
    """Something the user wrote cannot be used as it stands."""

    exit_code = 2


class SettingsError(InputError):
    """A settings file or a flag."""


class ConstitutionError(InputError):
    """A constitution document."""


class TemplateError(InputError):
    """A template of prompts/templates."""


class DataError(InputError):
    """A prompt set, a dataset or a label file."""


class EngineError(RlaifError):
    """A model could not be reached, loaded or kept alive."""

    exit_code = 3


class EngineUnavailable(EngineError):
    """The library, the model or the server is not there."""


class EngineCrashed(EngineError):
    """The engine was running and died; what it had answered is kept."""


class StoreError(RlaifError):
    """Results could not be read or written."""

    exit_code = 4


class IncompleteRun(RlaifError):
    """The run ended, but a larger share than allowed has no verdict."""

    exit_code = 5


class BudgetReached(RlaifError):
    """A limit on calls, tokens or time was reached; what was answered until then is kept."""

    exit_code = 6


class TrainingStopped(RlaifError):
    """Going on would only have spoilt the weights; the last good ones are kept."""

    exit_code = 7


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest known name, or an empty string when nothing is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
