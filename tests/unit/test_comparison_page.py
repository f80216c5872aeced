"""The comparison's page without a browser: what is packed, what is drawn, and that equal input gives equal bytes."""

import html
import json
import random
import re

import pytest

from benchmarks.compare_page import made_comparison
from rlaif.cli import main
from rlaif.evaluate.comparison_page.charts import Chart, Point, Series
from rlaif.evaluate.comparison_page.drawing import WIDTH, drawn
from rlaif.evaluate.comparison_page.packed import CHOICES, ENTRY, FIELD, pack
from rlaif.evaluate.comparison_page.page import html_page
from rlaif.evaluate.comparison_page.sections import charts_of

PAIRS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def made(folder):
    """(report, rows); their label files stay in the folder."""
    return made_comparison(folder, PAIRS, longest=60)


@pytest.fixture(scope="module")
def report(made):
    return made[0]


@pytest.fixture(scope="module")
def rows(made):
    return made[1]


def figure(value: float | None, n: int = 100) -> dict:
    if value is None:
        return {"value": None, "low": None, "high": None, "n": n, "clusters": 0, "because": "nobody <voted>"}
    return {"value": value, "low": value - 0.06, "high": value + 0.06, "n": n, "clusters": n // 2}


def index_of(page: str) -> dict:
    return json.loads(re.search(r'id="index">(.*?)</script>', page)[1])


def test_rows_in_any_order_give_the_same_bytes(report, rows):
    shuffled = random.Random(1).sample(rows, k=len(rows))
    turned = [{**row, "people": row["people"][::-1], "tags": row["tags"][::-1]} for row in shuffled]
    assert html_page(report, turned) == html_page(report, rows)


def test_a_pair_that_two_judges_saw_is_one_entry_with_both(report, rows):
    packed = pack(rows, report["terms"])
    assert packed.num_listed == packed.num_pairs == PAIRS
    raters = packed.index["raters"]
    assert raters == [["judge a", "judge"], ["judge b", "judge"], ["ann", "human"], ["ben", "human"], ["cat", "human"]]
    assert all(
        [raters[vote[0]][0] for vote in votes] == [name for name, _ in raters] for votes in packed.index["votes"]
    )


def test_every_vote_mark_and_text_is_in_the_pack(report, rows):
    packed = pack(rows, report["terms"])
    index = packed.index
    entries = [entry.split(FIELD) for entry in packed.texts.split(ENTRY)[1:]]
    for row in rows:
        place = index["ids"].index(row["pair_id"])
        texts, votes, marks = entries[place], index["votes"][place], index["marks"][place]
        judge = index["raters"].index([row["judge"]["rater"], "judge"])
        models = [row["first_model"], row["second_model"]]
        assert texts[:5] == [row["first"], row["second"], *models, row["prompt"][0]["content"]]
        assert row["judge"]["critique"] in texts
        said = CHOICES.index(row["judge"]["choice"])
        assert [judge, pytest.approx(row["judge"]["probability"], abs=1e-4), said, None, None] in votes
        for vote in row["people"]:
            person = index["raters"].index([vote["rater"], "human"])
            assert [person, None, CHOICES.index(vote["choice"]), None, vote["seconds"]] in votes
            assert vote["comment"] in texts
        for mark in row["judge"]["marks"]:
            wanted = [pytest.approx(mark[name], abs=1e-4) for name in ("probability", "shown_first", "shown_second")]
            name = index["principles"].index(mark["principle"])
            assert [judge, name, wanted[0], None, *wanted[1:], 1.0] in marks


def test_of_too_many_pairs_those_furthest_apart_are_listed_and_the_page_says_so(report, rows):
    def gap(row):
        said, share = row["judge"]["probability"], row["share"]
        return -1 if share is None else said - share if said >= 0.5 else share - said

    furthest = {}
    for row in rows:
        furthest[row["pair_id"]] = max(gap(row), furthest.get(row["pair_id"], -1))
    wanted = sorted(furthest, key=lambda name: -furthest[name])[:7]
    page = html_page(report, rows, most_pairs=7)
    assert index_of(page)["ids"] == sorted(wanted)
    assert f"Of {PAIRS}, the 7 on which a judge is furthest from people." in page


def test_people_alone_have_a_page(report, rows):
    alone = {**report, "judges": {}}
    page = html_page(alone, [{**row, "judge": None} for row in rows])
    assert "<h1>People beside people</h1>" in page
    assert [kind for _, kind in index_of(page)["raters"]] == ["human"] * 3


def page_by_command(path, *arguments) -> str:
    with pytest.raises(SystemExit) as ended:
        main.run(["compare", *map(str, arguments), "--resamples", "100", "--json", "--html", str(path)])
    assert not ended.value.code
    return path.read_text(encoding="utf-8")


def test_the_command_writes_the_page_of_what_it_reports(folder, made, tmp_path, capsys):
    page = page_by_command(tmp_path / "page.html", "--ai", folder / "judge.jsonl", "--human", folder / "human.jsonl")
    out, err = capsys.readouterr()
    assert f"written: {tmp_path / 'page.html'}" in err
    rows = [{**row, "judge": {**row["judge"], "critique": ""}} for row in made[1]]  # label files have none
    assert page == html_page(json.loads(out), rows)
    assert page.count("Which principle makes the disagreements</h3>") == 2  # one of each judge


def test_the_command_compares_people_alone(folder, made, tmp_path):
    page = page_by_command(tmp_path / "page.html", "--human", folder / "human.jsonl")
    index = index_of(page)
    assert index["raters"] == [["ann", "human"], ["ben", "human"], ["cat", "human"]]
    assert index["ids"] == sorted({row["pair_id"] for row in made[1]})


def test_no_pairs_are_said_to_be_none(report):
    page = html_page(report, [])
    assert "There is no pair to show." in page
    assert 'type="module"' not in page


# --- drawings


def chart(*figures, **more) -> Chart:
    points = [Point(f"p{place}", one) for place, one in enumerate(figures)]
    texts = {"title": "Title <1>", "about": "About.", "along": "agreement"}
    return Chart(name="c", series=[Series("judge", points)], **{**texts, **more})


def dots(markup: str) -> list[tuple[float, float]]:
    return [tuple(map(float, dot)) for dot in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', markup)]


def bars(markup: str) -> list[tuple[float, float]]:
    """From x to x of every interval."""
    group = re.search(r'<g class="series-0">(.*?)</g>', markup)[1]
    return [tuple(map(float, ends)) for ends in re.findall(r'x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)"', group)]


def test_a_dot_lies_in_proportion_to_its_share_and_its_interval_around_it():
    markup = drawn(chart(figure(0.6), figure(0.7), figure(0.8)))
    (low, _), (middle, _), (high, _) = dots(markup)
    assert middle - low == pytest.approx(high - middle, abs=0.02)  # written with two digits
    assert high > low
    for (x, _), (start, end) in zip(dots(markup), bars(markup), strict=True):
        assert x - start == pytest.approx(end - x, abs=0.02)
        assert (end - start) / (high - low) == pytest.approx(0.12 / 0.2, abs=0.001)


def test_no_interval_leaves_the_drawing():
    around = {"share": (0.07, 0.94), "part": (-0.02, 0.31), "points": (-0.4, 0.13), "number": (-0.4, 2.7)}
    for unit, values in around.items():
        for start, end in bars(drawn(chart(*map(figure, values), unit=unit))):
            assert 0 < start < end < WIDTH


def test_a_drawing_has_a_title_a_description_and_every_number_in_a_table():
    markup = html.unescape(drawn(chart(figure(0.712, n=1234), figure(None, n=0))))
    ids = re.search(r'aria-labelledby="(\S+) (\S+)"', markup).groups()
    assert all(f'id="{name}"' in markup for name in ids)
    assert "71.2 %" in markup
    assert "65.2 to 77.2; n 1,234" in markup
    assert "not defined: nobody <voted>" in markup
    assert len(dots(markup)) == 1  # what is not defined is not drawn


def test_what_lies_around_zero_is_told_with_a_sign():
    markup = drawn(chart(figure(0.02), figure(-0.01), unit="points"))
    assert "+2.0" in markup
    assert "-7.0 to +5.0" in markup
    markup = drawn(chart(figure(0.02), figure(1.5), unit="number"))
    assert "+1.440 to +1.560" in markup


def test_a_reliability_curve_on_the_diagonal_lies_on_the_diagonal():
    points = [Point(str(at), figure(at), at=at) for at in (0.5, 0.75, 1.0)]
    texts = {"title": "t", "about": "a", "across": "x", "along": "y"}
    markup = drawn(Chart(name="c", series=[Series("judge", points)], **texts))
    line = re.search(r'<line x1="(\S+)" y1="(\S+)" x2="(\S+)" y2="(\S+)" class="diagonal"', markup)
    x1, y1, x2, y2 = map(float, line.groups())
    assert [x for x, _ in dots(markup)] == [x1, pytest.approx((x1 + x2) / 2, abs=0.02), x2]
    for x, y in dots(markup):
        assert (y - y1) * (x2 - x1) == pytest.approx((x - x1) * (y2 - y1), abs=10)


def test_every_part_of_a_judge_that_the_report_has_is_drawn(report):
    judge = report["judges"]["judge a"]
    names = ("label_share", "disagreement_share", "drop_one", "kappa", "judge_weight", "people_weight")
    figures = dict.fromkeys(names, figure(0.02))
    principles = {"order": ["kind", "brief"], "principles": {"kind": figures, "brief": figures}}
    charts = {chart.name: chart for chart in charts_of("j", "judge a", {**judge, "principles": principles})}
    wanted = {*(f"j-{kind}" for kind in judge["slices"]), *(f"j-principles-{number}" for number in range(4))}
    assert set(charts) == {"j-reliability", *wanted}
    assert set(judge["slices"]) >= {"confidence", "length", "source"}
    assert [point.name for point in charts["j-principles-0"].series[0].points] == ["kind", "brief"]
    assert "principle=kind&how=against" in charts["j-principles-0"].series[0].points[0].link
    for chart in charts.values():
        assert drawn(chart)


def test_a_slice_links_to_its_filter(report):
    charts = {chart.name: chart for chart in charts_of("j", "judge a", report["judges"]["judge a"])}
    links = {
        point.name: point.link
        for name in ("j-confidence", "j-length", "j-source")
        for point in charts[name].series[0].points
    }
    assert links["0.60 to 0.70"] == "#judge=judge%3Ajudge+a&from=60&to=70"
    assert links["the judge's choice is longer"] == "#judge=judge%3Ajudge+a&size=longer"
    assert links["forum"] == "#judge=judge%3Ajudge+a&source=forum"
