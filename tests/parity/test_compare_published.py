"""`rlaif labels import` and `rlaif compare` on PandaLM's files give the published figures, from the files on.

Skipped where the data is not beside the checkout. The same figures from arrays, and the document that lists them:
test_numbers_we_reproduce.py.
"""

import json

import pytest

from rlaif.cli import main
from tests.parity import published_data
from tests.parity.test_numbers_we_reproduce import AGAINST_MAJORITY, PANEL

KAPPAS = {(1, 2): "0.8520", (1, 3): "0.8789", (2, 3): "0.8617"}
FILES = {"gpt": "gpt-3.5-turbo-testset-v1.json", "pandalm": "pandalm-7b-testset-v1.json"}


def rlaif(*arguments):
    with pytest.raises(SystemExit) as ended:
        main.run([str(one) for one in arguments])
    assert not ended.value.code


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    source, folder = published_data.folder("pandalm"), tmp_path_factory.mktemp("pandalm")
    texts = source / "testset-v1.json"
    rlaif("labels", "import", texts, "--output", folder / "people.jsonl")
    for name, file in FILES.items():
        rlaif("labels", "import", source / file, "--texts", texts, "--output", folder / f"{name}.jsonl")
    return folder


@pytest.fixture(scope="module")
def reports(files):
    return {name: compare(files, name) for name in FILES}


def compare(files, name, *more):
    from contextlib import redirect_stdout
    from io import StringIO

    out = StringIO()
    with redirect_stdout(out):
        rlaif(
            *("compare", "--ai", files / f"{name}.jsonl", "--human", files / "people.jsonl", "--json"),
            *("--skipped", "tie", "--resamples", 200, *more),
        )
    return json.loads(out.getvalue())


def as_printed(figure, published):
    return f"{figure['value']:.{len(published.partition('.')[2])}f}"


def test_peoples_kappas_are_the_published_ones(reports):
    for (one, other), published in KAPPAS.items():
        for report in reports.values():
            assert (
                as_printed(report["rater_pairs"][f"annotator{one} / annotator{other}"]["cohen_kappa"], published)
                == published
            )
    for name, published in PANEL.items():
        assert as_printed(reports["gpt"]["people"][name], published) == published


def test_both_judges_scores_against_the_majority_are_the_published_ones(reports):
    for judge, report in reports.items():
        (named,) = report["judges"]
        own = report["rater_pairs"][f"majority of people / {named}"]
        assert {name: as_printed(own[name], value) for name, value in AGAINST_MAJORITY[judge].items()} == (
            AGAINST_MAJORITY[judge]
        )


def test_the_judges_agree_worse_than_people_and_it_is_said(reports):
    for report in reports.values():
        assert "the judge agrees worse than people do" in report["sentences"]["as_people_agree"]
        (test,) = [own["alternative"] for own in report["judges"].values()]
        assert (test["passes"], test["winning_rate"]) == (False, 0.0)


def test_how_often_each_prefers_the_longer_answer(reports):
    """Published for the first row, by characters, of votes that are no ties; here ties count one half."""
    for report in reports.values():
        for rater in report["raters"]:
            assert 0.55 < rater["prefers_longer"]["value"] < 0.7
