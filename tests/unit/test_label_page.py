"""The labelling page over real HTTP: what it sends, what it keeps, and whom it refuses."""

import socket
import threading
from contextlib import contextmanager

import httpx
import pytest

from rlaif.constitution import Constitution, Principle
from rlaif.errors import InputError
from rlaif.labels.blind.candidates import candidates_of, known_answers
from rlaif.labels.blind.design import Wish
from rlaif.labels.blind.folder import VotesFolder
from rlaif.labels.file import read_votes
from rlaif.pages.label import label_app, listen, token_for
from rlaif.pages.label.server import server_of
from tests.label_page_kit import SECRETS, done_of, field, judged, vote, write_gold

HOSTILE = "</div><script>document.title='taken'</script><img src=x onerror=alert(1)> {{ 7*7 }} &amp; \x00 \u202e"


class Page:
    """A served page: its folder, its sittings by rater, an address for each."""

    def __init__(self, tmp_path, raters=("ann",), count=4, constitution=None, gold=None, votes=None):
        candidates = candidates_of(votes or [judged(number) for number in range(count)])
        self.folder = VotesFolder(tmp_path / "labels.jsonl")
        design = self.folder.design(Wish(draw="all"), candidates)
        self.sittings = {one: self.folder.sitting(one, candidates, design, gold) for one in raters}
        secret = self.folder.secret()
        tokens = {token_for(one, secret): sitting for one, sitting in self.sittings.items()}
        self.app = label_app(tokens, constitution, self.folder.write_labels)
        self.listening = listen(0)
        self.base = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.urls = {one: f"{self.base}/{token_for(one, secret)}/" for one in raters}


@contextmanager
def served(tmp_path, **more):
    page = Page(tmp_path, **more)
    server = server_of(page.app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [page.listening]})
    thread.start()
    try:
        yield page
    finally:
        server.should_exit = True
        thread.join(10)


def all_votes(client, url, choice="first"):
    """Vote until the end; every response on the way."""
    seen = [client.get(url)]
    while field(seen[-1].text, "question"):
        seen.append(vote(client, url, choice))
        assert seen[-1].status_code == 303
        seen.append(client.get(url))
    return seen


def test_whoever_comes_before_the_server_is_up_waits_and_no_other_can_take_the_port():
    listening = listen(0)
    address = listening.getsockname()
    with listening, socket.create_connection(address, timeout=5), pytest.raises(InputError, match="cannot be used"):
        listen(address[1])


def test_no_byte_sent_says_what_a_judge_said_or_whose_an_answer_is(tmp_path):
    gold = known_answers(write_gold(tmp_path / "gold.jsonl", 3))
    with served(tmp_path, count=30, gold=gold) as page, httpx.Client(timeout=60) as client:
        seen = all_votes(client, page.urls["ann"])
        seen += [client.post(f"{page.urls['ann']}undo"), client.get(page.urls["ann"])]
        pages = "".join(one.text for one in seen)
        seen += [client.get(f"{page.base}/static/{name}") for name in ("page.js", "style.css")]
        assert done_of(seen[0].text) == (0, 30 + 2 + 2)  # two come twice, two are known
    sent = "".join(f"{one.headers}{one.text}" for one in seen)
    assert "Left answer 7." in sent
    assert [secret for secret in SECRETS if secret in sent] == []
    assert [word for word in ("gold", "repeat", "again", "known") if word in pages.lower()] == []
    for question in page.sittings["ann"].questions:
        assert question.pair.id not in sent
    labels = list(read_votes(page.folder.labels))
    assert {vote.pair.x.policy for vote in labels} | {vote.pair.y.policy for vote in labels} == {
        "secret-model-a",
        "secret-model-b",
    }  # the file has what the page must not show


def test_every_choice_a_reason_and_marks_are_kept(tmp_path):
    constitution = Constitution(
        name="c",
        principles=(
            Principle(id="kind", text="Be kind & <b>warm</b>.", question="Which is kinder, A or B?"),
            Principle(id="never", text="Elsewhere.", question="Which, A or B?", tags={"other"}),
            Principle(id="short", text="Be short.", question="Which is shorter, A or B?"),
        ),
    )
    with served(tmp_path, count=5, constitution=constitution) as page, httpx.Client(timeout=60) as client:
        url = page.urls["ann"]
        text = client.get(url).text
        assert "Be kind &amp; &lt;b&gt;warm&lt;/b&gt;." in text
        assert "Elsewhere." not in text
        choices = ["first", "second", "tie", "both_bad", "skipped"]
        for number, choice in enumerate(choices):
            more = {"mark-0": "second", "mark-1": "", "comment": "line\r\n<two> "} if number == 0 else {}
            assert vote(client, url, choice, **more).status_code == 303
        wait_for(lambda: page.folder.is_current())
    entries = [entry.row for entry in page.sittings["ann"].journal.entries]
    assert [row["choice"] for row in entries] == choices
    assert [(mark["principle"], mark["choice"]) for mark in entries[0]["marks"]] == [("kind", "second")]
    assert (entries[0]["comment"], entries[0]["seconds"]) == ("line\n<two>", 1.5)
    assert all(row["is_order_known"] for row in entries)


def wait_for(is_so):
    for _ in range(3000):
        if is_so():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not come about")


def test_texts_of_strangers_are_shown_and_never_run(tmp_path):
    from rlaif.labels.votes import Found, make_vote
    from rlaif.records import Message

    found = Found(prompt=(Message("system", HOSTILE), Message("user", HOSTILE)), first=HOSTILE, second="b", rater="j",
                  kind="judge", probability=0.5)  # fmt: skip
    with served(tmp_path, votes=[make_vote(found, source="")]) as page, httpx.Client(timeout=60) as client:
        answer = client.get(page.urls["ann"])
    assert "<img" not in answer.text
    assert answer.text.count("<script") == 1
    assert answer.text.count("&lt;script&gt;") == 3
    assert "{{ 7*7 }} &amp;amp;" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("seconds", ["", "nan", "-1", "inf", "1e9", "x"])
def test_a_time_that_cannot_be_is_no_time(tmp_path, seconds):
    with served(tmp_path) as page, httpx.Client(timeout=60) as client:
        vote(client, page.urls["ann"], seconds=seconds)
    assert page.sittings["ann"].journal.entries[0].row["seconds"] is None


def test_undo_from_the_last_page_and_an_old_tab(tmp_path):
    with served(tmp_path) as page, httpx.Client(timeout=60) as client:
        url = page.urls["ann"]
        first = field(client.get(url).text, "question")
        all_votes(client, url)
        assert client.post(f"{url}undo").status_code == 303
        back = client.get(url).text
        assert done_of(back)[0] == done_of(back)[1] - 1
        again = client.post(f"{url}vote", data={"question": first, "choice": "tie"})
        assert again.status_code == 303
        assert client.post(f"{url}vote", data={"question": "0" * 64, "choice": "tie"}).status_code == 400
        assert client.post(f"{url}vote", data={"question": first, "choice": "best"}).status_code == 400
    assert page.sittings["ann"].choice_on(page.sittings["ann"].find(first)) == "tie"


def test_several_raters_vote_at_once_and_none_loses_a_vote(tmp_path):
    raters = ("ann", "bob", "cid")
    with served(tmp_path, raters=raters, count=12) as page:

        def work(rater):
            with httpx.Client(timeout=60) as client:
                all_votes(client, page.urls[rater], "second")

        threads = [threading.Thread(target=work, args=(rater,)) for rater in raters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        wait_for(lambda: page.folder.is_current())
    votes = list(read_votes(page.folder.labels))
    assert len(votes) == 36
    assert {vote.label.rater for vote in votes} == set(raters)


# --- who is refused


@pytest.mark.parametrize(
    ("headers", "is_served"),
    [
        ({}, True),
        ({"Host": "localhost:9000"}, True),
        ({"Host": "[::1]:80"}, True),
        ({"Host": "rebound.example"}, False),
        ({"Host": "127.0.0.1.example:80"}, False),
        ({"Host": "localhost@evil.example"}, False),
        ({"Host": "[bad"}, False),
    ],
)
def test_only_names_of_this_machine_are_answered(tmp_path, headers, is_served):
    with served(tmp_path) as page, httpx.Client(timeout=60) as client:
        answer = client.get(page.urls["ann"], headers=headers)
    assert (answer.status_code == 200) == is_served
    assert ("Left answer" in answer.text) == is_served


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_form_of_another_page_changes_nothing(tmp_path, headers):
    with served(tmp_path) as page, httpx.Client(timeout=60) as client:
        url = page.urls["ann"]
        question = field(client.get(url).text, "question")
        answer = client.post(f"{url}vote", data={"question": question, "choice": "first"}, headers=headers)
        assert answer.status_code == 403
        assert client.post(f"{url}undo", headers=headers).status_code == 403
        own = client.post(f"{url}vote", data={"question": question, "choice": "first"}, headers={"Origin": page.base})
        assert own.status_code == 303
    assert len(page.sittings["ann"].journal.entries) == 1


def test_without_the_secret_address_there_is_nothing(tmp_path):
    with served(tmp_path) as page, httpx.Client(follow_redirects=True, timeout=60) as client:
        for path in ("/", "/ann/", f"/{'0' * 32}/", "/static/app.py", "/static/../app.py", "/static/page.html"):
            answer = client.get(page.base + path)
            assert answer.status_code == 404, path
            assert "answer 1" not in answer.text
        assert client.request("DELETE", page.urls["ann"]).status_code == 405
        too_long = client.post(f"{page.urls['ann']}vote", content=b"a" * 300_000)
        assert too_long.status_code == 400
    assert (page.folder.path / "secret").stat().st_mode & 0o077 == 0
    assert token_for("ann", b"1") != token_for("bob", b"1") != token_for("bob", b"2")


def test_a_vote_that_cannot_be_kept_is_not_said_to_be(tmp_path, monkeypatch):
    import os

    def full(_handle):
        raise OSError(28, "No space left on device")

    with served(tmp_path) as page, httpx.Client(timeout=60) as client:
        url = page.urls["ann"]
        vote(client, url)
        before = page.sittings["ann"].journal.path.read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            answer = vote(client, url)
        assert answer.status_code == 503
        assert "No space left" in answer.text
        assert page.sittings["ann"].journal.path.read_bytes() == before
        assert done_of(client.get(url).text)[0] == 1
        assert vote(client, url).status_code == 303
