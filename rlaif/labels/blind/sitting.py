"""One rater at work: the questions, the journal of their votes, what comes next, and taking the last vote back."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rlaif.labels.blind.journal import Entry, Journal, votes_that_count
from rlaif.labels.blind.questions import Question
from rlaif.labels.file import row_of
from rlaif.labels.label import Choice, Mark
from rlaif.labels.votes import Found, Unfit, make_vote


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the rater said, in the order shown. `seconds` is how long the page was visible, None where not measured."""

    choice: Choice
    comment: str = ""
    marks: Mapping[str, Choice] = field(default_factory=dict)
    seconds: float | None = None


def utc_now() -> datetime:
    return datetime.now(UTC)


class Sitting:
    """Safe to use from several threads: a rater may have two tabs."""

    def __init__(
        self, rater: str, questions: Sequence[Question], journal: Journal, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.rater, self.questions, self.journal = rater, tuple(questions), journal
        self._by_id = {question.id: question for question in questions}
        self._now, self._lock = now, threading.Lock()
        self._answered = votes_that_count(tuple(journal.entries))

    @property
    def current(self) -> Question | None:
        """The first question without a vote; None when all have one."""
        return next((question for question in self.questions if question.id not in self._answered), None)

    @property
    def num_done(self) -> int:
        return sum(question.id in self._answered for question in self.questions)

    @property
    def last(self) -> Question | None:
        """The question whose vote would be taken back."""
        ids = [name for name in self._answered if name in self._by_id]
        return self._by_id[ids[-1]] if ids else None

    def find(self, question_id: str) -> Question | None:
        return self._by_id.get(question_id)

    def choice_on(self, question: Question) -> Choice:
        """The vote that counts. KeyError where there is none."""
        row = self._answered[question.id].row
        assert row is not None  # only votes that count are kept there
        choice: Choice = row["choice"]
        return choice

    def said_before(self, question: Question) -> Mapping[str, Any]:
        """The row of the last vote on a question that was taken back; empty where there is none."""
        rows = [entry.row for entry in self.journal.entries if entry.question == question.id and entry.row is not None]
        return rows[-1] if rows else {}

    def vote(self, question_id: str, answer: Answer) -> None:
        """Keep a vote. On a question that has one, the new one counts and both are kept. KeyError for no such one."""
        question = self._by_id[question_id]
        row = _row(question, answer, self.rater, self._now())
        with self._lock:
            self._keep(Entry(question.id, question.role, row, question.known))

    def undo(self) -> Question | None:
        """Take the last vote back: its question comes again. None where there is none."""
        with self._lock:
            question = self.last
            if question is not None:
                self._keep(Entry(question.id, question.role, None))
            return question

    def _keep(self, entry: Entry) -> None:
        self.journal.append(entry)
        self._answered.pop(entry.question, None)
        if entry.row is not None:
            self._answered[entry.question] = entry


def _row(question: Question, answer: Answer, rater: str, time: datetime) -> dict[str, Any]:
    pair = question.pair
    sides = (pair.x, pair.y) if question.is_x_first else (pair.y, pair.x)
    vote = make_vote(
        Found(
            prompt=pair.prompt.messages,
            first=sides[0].text,
            second=sides[1].text,
            rater=rater,
            kind="human",
            choice=answer.choice,
            marks=tuple(Mark(principle=name, choice=choice) for name, choice in answer.marks.items()),
            comment=answer.comment,
            seconds=answer.seconds,
            time=time,
            is_order_known=True,
            first_model=sides[0].policy,
            second_model=sides[1].policy,
            tags=pair.prompt.tags,
            source=pair.prompt.source,
        ),
        source="",
    )
    assert not isinstance(vote, Unfit), vote  # it was a pair before
    return row_of(vote)
