"""Whatever votes there are, a comparison ends in a report of sound figures or in an error of ours."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlaif.errors import DataError
from rlaif.evaluate.comparison.report import as_bytes
from rlaif.evaluate.comparison.sections import markdown
from rlaif.evaluate.comparison.terms import Terms
from rlaif.labels.file import write_votes
from tests.compare_kit import report_of
from tests.labels_kit import votes

QUICK = Terms(num_resamples=100)


@st.composite
def files(draw):
    """Two lists of votes: people's on a few pairs, and a judge's on some of these and on others."""
    drawn = draw(st.lists(votes.filter(lambda one: not hasattr(one, "reason")), min_size=1, max_size=8))
    people = [given_by(vote, rater, "human") for vote in drawn for rater in draw(st.sets(st.sampled_from("abc")))]
    judged = [given_by(vote, "judge", "judge") for vote in draw(st.lists(st.sampled_from(drawn), max_size=8))]
    return [*people, drawn[0]], [*judged, drawn[0]]


def given_by(vote, rater, kind):
    return replace(vote, label=replace(vote.label, rater=rater, kind=kind))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(files())
def test_any_votes_give_a_report_or_an_error_of_ours(drawn):
    with tempfile.TemporaryDirectory() as place:
        paths = [Path(place) / name for name in ("people.jsonl", "judge.jsonl")]
        for path, own in zip(paths, drawn, strict=True):
            write_votes(path, own)
        for judges in ([], paths[1:]):
            try:
                found = report_of(paths[:1], judges, QUICK)
            except DataError:
                continue
            json.loads(as_bytes(found))
            assert markdown(found).startswith("# People and judges compared")
            for own in found["rater_pairs"].values():
                agreement = own["agreement"]["value"]
                assert agreement is None or 0 <= agreement <= 1
