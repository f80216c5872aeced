"""`rlaif watch` as a function: judge a sample of the prompts again at every save, and say which labels it turned.

    for done in watch(settings, base=folder, num_prompts=24, progress=progress):
        print(done.as_json())

The answers are drawn once, through the store, and the policy is let go before the judge is loaded; the judge stays
loaded until the end. Every verdict goes through the store as well: going back to an earlier text costs nothing, and the
next `rlaif generate` finds everything that was judged here. Critiques are not written: they are no part of a label.

A save that arrives while the one before is judged overtakes it: the answers that came are kept, and the newest text is
judged at once. Only the start is always judged to its end, since it is what everything is compared with.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from time import monotonic

from rlaif.constitution import diff as changes_between
from rlaif.constitution import load_constitution, source_files
from rlaif.engines.base import Answer
from rlaif.errors import IncompleteRun, InputError
from rlaif.feedback.ask import Model, Session
from rlaif.feedback.budget import Budget
from rlaif.feedback.difference import compare_labels, renames
from rlaif.feedback.judge import refuse_several_judges
from rlaif.feedback.pairing import pair_up
from rlaif.feedback.progress import Progress
from rlaif.feedback.run import judge_template, models_of, read_inputs
from rlaif.feedback.sample import Sample, sample_responses
from rlaif.feedback.watch_bench import Bench, Standing, Subject
from rlaif.feedback.watch_round import Kind, Round
from rlaif.feedback.watched_files import WatchedFiles
from rlaif.records import Prompt, ResponsePair
from rlaif.settings import Settings
from rlaif.store import Store
from rlaif.templates import template_places

LOG = "watch.log"


class _Overtaken(Exception):
    """A newer save is there."""


@dataclass
class _UntilNewer(Budget):
    """The one limit of a round: asking ends with the first answer after a newer save."""

    is_newer: Callable[[], bool] = lambda: False
    answered: int = 0

    def spend(self, answer: Answer) -> None:
        self.answered += 1
        if self.is_newer():
            raise _Overtaken


def watch(settings: Settings, *, base: Path, num_prompts: int, progress: Progress) -> Generator[Round, None, None]:
    """Watch the constitution (and the judge's template) of these settings. Paths count from `base`.

    Raises what `rlaif generate` would where the start cannot be judged; later mistakes in the documents are rounds.
    """
    refuse_several_judges(settings, "rlaif watch")
    prompts = read_inputs(settings, base).prompts.prompts  # all of it is checked before a model is loaded
    models = models_of(settings, base / settings.output / LOG)
    with Store(settings.store_place(base), will_append=True) as store:
        yield from rounds(
            settings,
            draw(prompts, num_prompts),
            policies=models.policies,
            judge=models.judge,
            read=lambda: read_subject(settings, base),
            files=WatchedFiles(lambda: subject_files(settings, base)),
            store=store,
            progress=progress,
        )


def read_subject(settings: Settings, base: Path) -> Subject:
    """What the files say now. Raises InputError."""
    return Subject(
        constitution=load_constitution(settings.constitution, base=base),
        template=judge_template(settings.judge, base),
    )


def subject_files(settings: Settings, base: Path) -> tuple[Path, ...]:
    """Everything `read_subject` reads: the document, those it extends, and the template; and where a template would be
    found first if it were there."""
    files = list(source_files(settings.constitution, base=base))
    for place in template_places(settings.judge.mode_template, base=base):
        files.append(place)
        if place.is_file():
            break
    return tuple(files)


def draw(prompts: Sequence[Prompt], num_prompts: int) -> tuple[Prompt, ...]:
    """A sample that stays the same while a set grows or is reordered: the prompts with the smallest ids, which are
    digests, so that no kind of prompt is favoured. In the order of the set."""
    chosen = set(sorted(prompt.id for prompt in prompts)[:num_prompts])
    return tuple(prompt for prompt in prompts if prompt.id in chosen)


def rounds(
    settings: Settings,
    prompts: Sequence[Prompt],
    *,
    policies: Sequence[Model],
    judge: Model,
    read: Callable[[], Subject],
    files: WatchedFiles,
    store: Store,
    progress: Progress,
) -> Generator[Round, None, None]:
    """The start, and then one round per save, for as long as it is asked for more."""
    subject = read()
    pairs = sample_pairs(settings, prompts, policies, store=store, progress=progress)
    limit = _UntilNewer()
    with Session(judge, limit) as session:
        session.engine(progress)
        begun = monotonic()
        bench = Bench(settings, prompts, pairs, session, store, progress)
        start = before = bench.judge(subject, None)
        yield _told(0, "start", begun, files, limit, after=start)
        limit.is_newer = files.is_newer
        for number in count(1):
            seen, limit.answered = files.wait(), 0
            files.take()
            kind: Kind = "judged"
            mistake, after = "", None
            try:
                after = bench.judge(read(), before.subject)
            except InputError as error:
                kind, mistake = "mistake", str(error)
            except _Overtaken:
                kind = "overtaken"
            told = _told(number, kind, seen, files, limit, mistake=mistake, after=after)
            yield told if after is None else _compared(told, seen, start, before, after)
            before = after or before


def _told(
    number: int,
    kind: Kind,
    since: float,
    files: WatchedFiles,
    limit: _UntilNewer,
    *,
    mistake: str = "",
    after: Standing | None = None,
) -> Round:
    told = Round(
        number=number,
        kind=kind,
        seconds=monotonic() - since,
        files=tuple(str(path) for path in files.paths if path.is_file()),
        mistake=mistake,
        asked=limit.answered,
    )
    if after is None:
        return told
    return replace(told, sampled=after.sampled, reasons=after.reasons, reused=after.reused, outcomes=after.outcomes)


def _compared(told: Round, since: float, start: Standing, before: Standing, after: Standing) -> Round:
    """The same, with what changed since the save before, and since the start."""
    was, now = before.subject.constitution, after.subject.constitution
    first = start.subject.constitution
    return replace(
        told,
        changes=tuple(changes_between(was, now)),
        difference=compare_labels(before.labels, after.labels, renames(was, now)),
        since_start=compare_labels(start.labels, after.labels, renames(first, now)),
        seconds=monotonic() - since,
    )


def sample_pairs(
    settings: Settings, prompts: Sequence[Prompt], policies: Sequence[Model], *, store: Store, progress: Progress
) -> tuple[ResponsePair, ...]:
    """The pairs of answers to the sample. A policy is loaded only where the store lacks an answer of its."""
    samples: list[Sample] = []
    for policy, model in zip(settings.policies, policies, strict=True):
        with Session(model) as session:
            samples += sample_responses(prompts, policy, session=session, store=store, progress=progress)
    pairing = pair_up(samples, likeness=settings.cleaning.removed_likeness)
    if not pairing.pairs:
        why = "; ".join(f"{number} × {reason}" for reason, number in pairing.left_out.items())
        raise IncompleteRun(
            f"there are no two answers to compare ({why}).",
            do="Draw more or longer answers (policies.samples, sampling.max_tokens), or take more --prompts.",
        )
    return pairing.pairs
