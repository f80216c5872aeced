"""`kill -9` of a real `rlaif label`, between votes and in the middle of them: no vote that was answered is lost."""

import itertools
import random
import threading

import httpx
import pytest

from rlaif.labels.blind.folder import VotesFolder
from rlaif.labels.blind.journal import votes_that_count
from rlaif.labels.file import read_votes
from tests.label_page_kit import done_of, field, serve, vote, write_data
from tests.scale import times

pytestmark = pytest.mark.slow
KILLS = times(4, full=40)
MOST = 140  # votes in a turn: the quickest machine leaves questions for the next


def test_whatever_is_killed_when_every_answered_vote_is_there_again(tmp_path):
    data, output = write_data(tmp_path / "data.jsonl", MOST * KILLS), tmp_path / "labels.jsonl"
    luck, answered, url_before = random.Random(5), {}, None
    for turn in range(KILLS):
        served = serve(data, output, "ann")
        url = served.urls["ann"]
        assert url_before is None or url.split("/")[-2] == url_before.split("/")[-2]  # the secret part stays
        url_before = url
        with httpx.Client(timeout=60) as client:
            assert done_of(client.get(url).text)[0] >= len(answered)
            if turn % 2:
                vote_until_killed(served, client, url, luck, answered)
            else:
                for choice in luck.choices(["first", "second", "tie", "both_bad"], k=3):
                    name = field(client.get(url).text, "question")
                    assert vote(client, url, choice, comment=f"turn {turn}").status_code == 303
                    answered[name] = choice
                served.kill()
        kept = votes_that_count(VotesFolder(output).journals()["ann"].entries)
        assert {name: kept[name].row["choice"] for name in answered} == answered
    served = serve(data, output, "ann")
    with httpx.Client(timeout=60) as client:
        assert done_of(client.get(served.urls["ann"]).text)[0] >= len(answered)
    said = served.stop()
    assert '"sittings"' in said
    assert served.process.returncode == 0
    kept = list(votes_that_count(VotesFolder(output).journals()["ann"].entries).values())
    labels = {vote.pair.id: vote.label.choice for vote in read_votes(output)}
    assert labels == {entry.row["pair_id"]: entry.row["choice"] for entry in kept if entry.role == "pair"}
    assert len(kept) - len(answered) <= KILLS  # at most one a kill was kept and not answered any more


def vote_until_killed(served, client, url, luck, answered):
    """Votes as fast as they go, and a kill at any moment of one."""
    timer = threading.Timer(0.05 + 0.4 * luck.random(), served.kill)
    timer.start()
    try:
        for choice in itertools.islice(itertools.cycle(["second", "first", "tie"]), MOST):
            page = client.get(url)
            name = field(page.text, "question")
            if client.post(f"{url}vote", data={"question": name, "choice": choice}).status_code == 303:
                answered[name] = choice
    except httpx.TransportError:
        pass
    timer.join()
    served.process.wait()
