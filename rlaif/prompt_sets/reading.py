"""Sources to one set of prompts: each prompt once, every other row counted with its place and reason."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from rlaif.errors import DataError, Where
from rlaif.prompt_sets import formats
from rlaif.prompt_sets.rows import Drop, Finding, parse_row
from rlaif.records import Prompt


class Source(formats.Source, Protocol):
    """What a reader needs to know of a source; `rlaif.settings.PromptSource` is one."""

    @property
    def limit(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Prompts in the order first met, and the rows that gave none. Every row read is in exactly one of the two.

    `places` says where each prompt was read, by its id. `findings` are what cleaning found (`cleaning`): those removed
    are drops as well, those only reported stay prompts. `looked_for` says what they were looked for in.
    """

    prompts: tuple[Prompt, ...]
    drops: tuple[Drop, ...]
    places: Mapping[str, Where] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    looked_for: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        return len(self.prompts) + len(self.drops)

    @property
    def drop_counts(self) -> dict[str, int]:
        """How many rows were left out, by reason."""
        return dict(Counter(drop.reason for drop in self.drops))

    @property
    def kept_counts(self) -> dict[str, int]:
        """How many prompts were found and stay all the same, by reason."""
        return dict(Counter(finding.reason for finding in self.findings if not finding.is_removed))

    def figures(self) -> dict[str, Any]:
        """What became of the rows, as plain JSON."""
        return {
            "rows": self.num_rows,
            "used": len(self.prompts),
            "left_out": self.drop_counts,
            "found_and_kept": self.kept_counts,
            **self.looked_for,
        }


def read_prompts(sources: Sequence[Source], *, base: Path) -> PromptSet:
    """All prompts of the sources; relative paths count from `base`.

    Equal conversations are one prompt: the first one's name and source stay, its tags gain those of the others, and the
    first reference there is stays. A duplicate with another reference is counted as that: one of the two is wrong.
    """
    prompts: dict[str, tuple[Prompt, Where]] = {}
    drops: list[Drop] = []
    for source in sources:
        for where, found in _read(source, base):
            if isinstance(found, Drop):
                drops.append(found)
            elif found.id in prompts:
                first, first_where = prompts[found.id]
                reference = first.reference if first.reference is not None else found.reference
                joined = replace(first, tags=first.tags | found.tags, reference=reference)
                prompts[found.id] = joined, first_where
                differs = found.reference not in (None, reference)
                reason = "duplicate with another reference" if differs else "duplicate"
                drops.append(Drop(reason, where, same_as=first_where))
            else:
                prompts[found.id] = found, where
    places = {name: where for name, (_, where) in prompts.items()}
    prompt_set = PromptSet(tuple(prompt for prompt, _ in prompts.values()), tuple(drops), places)
    if not prompts:
        left_out = "; ".join(f"{count} rows: {reason}" for reason, count in prompt_set.drop_counts.items())
        found_text = f"there is no prompt in {', '.join(source.path for source in sources) or 'an empty list'}"
        found_text += f" ({left_out})." if left_out else ": no rows."
        raise DataError(found_text, do="Add a prompt; see prompts/README.md.")
    return prompt_set


def _read(source: Source, base: Path) -> Iterator[tuple[Where, Prompt | Drop]]:
    """The source's rows as prompts, up to `limit` of them; rows that give no prompt do not count for it."""
    name = Path(source.path).stem if Path(source.path).suffix in formats.FORMATS else source.path
    num_prompts = 0
    for where, row in formats.read_rows(source, base):
        found = parse_row(row, where, name)
        yield where, found
        num_prompts += isinstance(found, Prompt)
        if num_prompts == source.limit:
            return
