"""From a finished run, or from a judge and its settings, to the card."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from rlaif.constitution import Constitution
from rlaif.engines.base import ModelIdentity
from rlaif.errors import DataError
from rlaif.evaluate.judge_card.asking import Asked, judged_principles
from rlaif.evaluate.judge_card.card import Card, make_card
from rlaif.evaluate.judge_card.families import own_answers
from rlaif.evaluate.judge_card.people import read_known
from rlaif.evaluate.judge_card.probe_sets import (
    ProbeSet,
    changed_pairs,
    joined,
    one_of_each,
    own_pairs,
    read_probe_folder,
)
from rlaif.evaluate.judge_card.verdicts import Reasons, Row, Verdicts, is_silent, reasons_of, verdicts_of
from rlaif.feedback.ask import Known
from rlaif.feedback.finished import FinishedRun, pair_of_row, read_finished
from rlaif.feedback.road import Road
from rlaif.labels.file import read_votes
from rlaif.pair_dataset import read_rows
from rlaif.records import ResponsePair

NO_PROBES = "nothing was asked about changed answers: `rlaif judge-card --judge` does"
_AT_ONCE = 1000  # rows whose reasons are looked up together


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What the user says beside the verdicts: people's labels, and families that names do not tell."""

    labels: tuple[Path, ...] = ()
    judge_family: str | None = None
    policy_families: Mapping[str, str] = field(default_factory=dict)


def card_of_run(folder: Path, open_store: Callable[[], AbstractContextManager[Known]], beside: Beside) -> Card:
    """The card of a finished run's judge. The store is opened only to say why verdicts are missing."""
    run = read_finished(folder)
    if run.judges.are_several:
        raise DataError(
            f"this run's verdicts are those of several judges together: {run.judges.name}.",
            where=str(folder),
            do="A card is one judge's: run it with --set 'judges.others=[]' under another name (all of it is stored).",
        )
    names = judged_principles(run.constitution)
    has_orders = run.settings.judge.mode != "score"
    reasons = _reasons(run, names, open_store)
    verdicts = verdicts_of(rows_of(folder), names, reasons=reasons, has_orders=has_orders)
    return _card(
        verdicts,
        run.judge,
        policies_of(run),
        beside,
        f"the run {run.settings.name}",
        run.constitution,
        run.settings.judge.mode,
        None,
        [NO_PROBES],
    )


def card_of_asked(
    asked: Asked, road: Road, policies: Mapping[str, ModelIdentity], beside: Beside, source: str, notes: list[str]
) -> Card:
    """The card of a judge that was asked."""
    names = judged_principles(road.constitution)
    pairs = [pair_of_row(row) for row in asked.rows if is_silent(row, names)]
    mode = road.settings.judge.mode
    reasons = reasons_of(pairs, asked.heard, names)
    verdicts = verdicts_of(asked.rows, names, reasons=reasons, has_orders=mode != "score")
    return _card(verdicts, road.models.judge.identity, policies, beside, source, road.constitution, mode, asked, notes)


def _card(
    verdicts: Verdicts,
    judge: ModelIdentity,
    policies: Mapping[str, ModelIdentity],
    beside: Beside,
    source: str,
    constitution: Constitution,
    mode: str,
    asked: Asked | None,
    notes: list[str],
) -> Card:
    own = own_answers(verdicts, judge, policies, beside.policy_families, beside.judge_family)
    family = [name for name, is_own in own.policies.items() if is_own]
    if family:
        shown = f" ({own.judge_family})" if own.judge_family else ""
        notes = [*notes, f"of the judge's own family{shown}: {', '.join(family)}"]
    return make_card(
        verdicts,
        judge=asdict(judge),
        mode=mode,
        source=source,
        texts={principle.id: principle.text for principle in constitution.principles},
        own=own,
        known=read_known(beside.labels, verdicts) if beside.labels else None,
        asked=asked,
        notes=notes,
    )


def rows_of(folder: Path) -> Iterator[Row]:
    """A run's labels."""
    return read_rows(folder / "labels.parquet")


def policies_of(run: FinishedRun) -> dict[str, ModelIdentity]:
    """A run's policies by the name its labels have."""
    return dict(zip((policy.model for policy in run.settings.policies), run.policies, strict=True))


def _reasons(
    run: FinishedRun, names: tuple[str, ...], open_store: Callable[[], AbstractContextManager[Known]]
) -> Reasons:
    silent = (row for row in rows_of(run.folder) if is_silent(row, names))
    first = next(silent, None)
    if first is None:
        return {}
    found: dict[tuple[str, str, bool], str] = {}
    with open_store() as known:
        some = [first, *islice(silent, _AT_ONCE - 1)]
        while some:
            pairs = [pair_of_row(row) for row in some]
            found |= reasons_of(pairs, run.heard(pairs, known), names)
            some = list(islice(silent, _AT_ONCE))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What a judge is to be asked about, in words, and who gave the answers where that is known."""

    probes: ProbeSet
    source: str
    policies: Mapping[str, ModelIdentity]

    @property
    def notes(self) -> list[str]:
        return [f"left out: {count:,} × {why}" for why, count in self.probes.left_out.items()]


def find_probes(source: Path | None, folders: list[Path], limit: int | None, *, is_changed: bool = True) -> Probed:
    """The pairs of a run's folder or of a label file, and published folders; where nothing is named, our own pairs.
    Pairs come with their changed twins where `is_changed`; published ones have their own."""
    sets, said = [], []
    policies: Mapping[str, ModelIdentity] = {}
    if source is not None:
        pairs, policies, named = _pairs_of(source)
        sets.append(changed_pairs(one_of_each(pairs, limit), is_changed=is_changed))
        said.append(f"pairs of {named}")
    for folder in folders:
        sets.append(read_probe_folder(folder, limit))
        said.append(f"the probes in {folder.name}")
    if not sets:
        sets.append(changed_pairs(own_pairs()[:limit], is_changed=is_changed))
        said.append("the pairs that come with rlaif")
    return Probed(probes=joined(sets), source=f"asked about {' and '.join(said)}", policies=policies)


def _pairs_of(source: Path) -> tuple[list[ResponsePair], dict[str, ModelIdentity], str]:
    """Pairs, who answered, and what to call the source. Of a label file nothing is known of a model but its name."""
    if source.is_dir():
        run = read_finished(source)
        return [pair_of_row(row) for row in rows_of(source)], policies_of(run), f"the run {run.settings.name}"
    pairs = list({vote.pair.id: vote.pair for vote in read_votes(source)}.values())
    names = {one.policy for pair in pairs for one in (pair.x, pair.y) if one.policy}
    return pairs, {name: _by_name(name) for name in sorted(names)}, f"the label file {source.name}"


def _by_name(name: str) -> ModelIdentity:
    return ModelIdentity(name=name, weights=name, chat_template="", dtype="")
