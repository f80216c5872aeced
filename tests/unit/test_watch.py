"""What a save costs and what is told of it, on the scripted engine, whose calls are counted."""

from itertools import count, pairwise

import pytest

from rlaif.constitution import dump_constitution, load_constitution, source_files
from rlaif.engines.scripted import Faults, ScriptedEngine, scripted_identity
from rlaif.errors import ConstitutionError, EngineCrashed, IncompleteRun
from rlaif.feedback.ask import Model, Session
from rlaif.feedback.hear_pairs import hear_pairs
from rlaif.feedback.modes import mode_of
from rlaif.feedback.progress import Quiet
from rlaif.feedback.watch import draw, rounds, sample_pairs
from rlaif.feedback.watch_bench import Subject
from rlaif.feedback.watched_files import WatchedFiles
from rlaif.settings import JudgeSettings
from rlaif.store import Store
from rlaif.templates import dump_template, load_template
from tests.roads import constitution, follows_the_word, principle, prompts, settings

# By these weights no two or three principles cancel each other out: a label is a tie only where all verdicts are.
PRINCIPLES = (
    principle("kind", "kind", weight=4.0),
    principle("example", "example", weight=2.0),
    principle("short", "short"),
)


class Told(Quiet):
    """The notes of a run."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def scores_the_word(request):
    """The judge's rule where it scores: high where the answer says the principle's word, else low."""
    text = request.messages[0].content
    word, answer = text.split("«")[1].split("»")[0], text.split("<response>\n")[1].split("\n</response>")[0]
    place = len(request.choices) - 2 if word in answer.split() else 0
    return [0.9 if own == place else 0.01 for own in range(len(request.choices))]


class Desk:
    """A project whose constitution is edited while it is watched. `happened` says who opened, answered and closed."""

    def __init__(self, folder, *, num_prompts=5, judge_faults=None, more_prompts=(), mode="verdict"):
        self.wanted = settings(judge=JudgeSettings(model="judge", mode=mode))
        self.file, self.template = folder / "constitution.yaml", folder / "judge.txt"
        self.template.write_text(dump_template(load_template(self.wanted.judge.mode_template)))
        self.save(*PRINCIPLES)
        self.store = Store(folder / "store")
        self.prompts = (*prompts(num_prompts), *more_prompts)
        self.happened, self.calls, self.judge_faults = [], {"policy": [], "judge": []}, judge_faults
        self.at_call, self.at_read, self.progress = {}, [], Told()
        self.rounds = self.start()

    def start(self):
        return rounds(
            self.wanted,
            self.prompts,
            policies=[self.model("policy", ())],
            judge=self.model("judge", (self.follow,), self.judge_faults),
            read=self.read,
            files=WatchedFiles(lambda: (*source_files(self.file), self.template), poll_s=0.0),
            store=self.store,
            progress=self.progress,
        )

    def read(self):
        subject = Subject(constitution=load_constitution(self.file), template=load_template(str(self.template)))
        while self.at_read:
            self.at_read.pop()()
        return subject

    def model(self, name, rules, faults=None):
        desk = self

        class Counted(ScriptedEngine):
            def complete(self, requests):
                desk.happened.append(f"{name} asked")
                try:
                    yield from super().complete(requests)
                finally:
                    desk.happened.append(f"{name} answered")

            def close(self):
                desk.happened.append(f"{name} closed")

        def opened():
            self.happened.append(f"{name} opened")
            engine = Counted(name, rules=rules, faults=faults)
            engine.calls = self.calls[name]
            return engine

        return Model(name=name, identity=scripted_identity(name), open=opened)

    def follow(self, request):
        """The judge's rule; what is planned for its n-th call happens first."""
        self.at_call.pop(len(self.calls["judge"]), lambda: None)()
        return scores_the_word(request) if len(request.choices) > 2 else follows_the_word(request)

    def save(self, *principles):
        self.file.write_text(dump_constitution(constitution(*principles)))

    def next(self):
        """The next round, and the judge's calls in it."""
        before = len(self.calls["judge"])
        done = next(self.rounds)
        return done, self.calls["judge"][before:]

    def pairs(self):
        return sample_pairs(settings(), self.prompts, [self.model("policy", ())], store=self.store, progress=Quiet())


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture
def watched(desk):
    """After the start."""
    done, calls = desk.next()
    desk.num_pairs = done.sampled.pairs
    assert (done.kind, done.asked) == ("start", len(calls))
    assert len(calls) == 2 * 3 * desk.num_pairs > 100
    return desk


def under(calls):
    """The words of the principles that calls are about."""
    return {call.messages[0].content.split("«")[1].split("»")[0] for call in calls}


def leads(words, pair, weights=(4, 2, 1)):
    """The side the judge of these tests is on, by hand: for each word the answer that has it gains its weight."""
    gains = [
        sum(weight for word, weight in zip(words, weights, strict=True) if word in answer.text.split())
        for answer in (pair.x, pair.y)
    ]
    return gains[0] - gains[1]


def test_a_save_asks_about_the_changed_principle_alone_and_names_its_flips(watched):
    watched.save(principle("kind", "doubt", weight=4.0), *PRINCIPLES[1:])
    done, calls = watched.next()
    assert (done.kind, done.asked, done.reused) == ("judged", 2 * watched.num_pairs, 4 * watched.num_pairs)
    assert len(calls) == done.asked
    assert under(calls) == {"doubt"}
    assert done.reasons == (f"principle 'kind' changed: text ({len(calls)} judge calls)",)
    assert f"plan: {done.reasons[0]}" in watched.progress.notes
    assert [(change.principle_id, change.kind) for change in done.changes] == [("kind", "text")]
    before, after = (["kind", "example", "short"], ["doubt", "example", "short"])
    sides = [(leads(before, pair), leads(after, pair)) for pair in watched.pairs()]
    flipped = [pair.id for pair, (was, now) in zip(watched.pairs(), sides, strict=True) if was * now < 0]
    assert done.difference.flipped == tuple(sorted(flipped)) != ()
    assert done.difference.turned == {"kind": len(flipped), "example": 0, "short": 0}
    assert done.difference.counts["became a tie"] == sum(was != 0 == now for was, now in sides) > 0
    assert sum(done.outcomes.values()) == done.asked + done.reused


def test_a_comment_asks_nothing_and_moves_nothing(watched):
    watched.file.write_text(f"# a thought\n{watched.file.read_text()}")
    done, calls = watched.next()
    assert (done.kind, done.asked, calls, done.changes) == ("judged", 0, [], ())
    assert done.difference.counts["kept"] == watched.num_pairs
    assert "plan: nothing to ask, every verdict is in the store" in watched.progress.notes


def test_another_weight_asks_nothing_and_still_turns_labels(watched):
    watched.save(principle("kind", "kind", weight=0.5), *PRINCIPLES[1:])
    done, calls = watched.next()
    assert calls == []
    words = ["kind", "example", "short"]
    flips = [pair.id for pair in watched.pairs() if leads(words, pair) * leads(words, pair, (0.5, 2, 1)) < 0]
    assert done.difference.flipped == tuple(sorted(flips)) != ()


def test_going_back_costs_nothing_and_ends_where_it_began(watched):
    watched.save(principle("kind", "doubt", weight=4.0), *PRINCIPLES[1:])
    first, _ = watched.next()
    watched.save(*PRINCIPLES)
    back, calls = watched.next()
    assert calls == []
    assert back.difference.flipped == first.difference.flipped
    assert back.since_start.flipped == ()
    assert back.since_start.counts["kept"] == watched.num_pairs


def test_a_mistake_is_told_with_its_place_asks_nothing_and_watching_goes_on(watched):
    good = watched.file.read_text()
    watched.file.write_text(good.replace("text: A good", "txet: A good", 1))
    wrong, calls = watched.next()
    assert (wrong.kind, wrong.asked, calls, wrong.difference) == ("mistake", 0, [], None)
    assert f"{watched.file}:" in wrong.mistake
    assert "did you mean 'text'?" in wrong.mistake
    watched.file.write_text(good.replace("«kind»", "«doubt»"))
    mended, calls = watched.next()
    assert (mended.number, mended.kind, len(calls)) == (2, "judged", 2 * watched.num_pairs)


def test_a_mistake_at_the_start_is_an_error_before_any_model_is_loaded(desk):
    desk.file.write_text("principles: 3\n")
    with pytest.raises(ConstitutionError, match=r"constitution\.yaml:1"):
        desk.next()
    assert desk.happened == []


def test_an_edit_of_an_extended_document_is_seen_and_so_is_one_that_was_missing(watched):
    parent = watched.file.with_name("parent.yaml")
    watched.file.write_text("name: own\nextends: parent.yaml\n")
    missing, _ = watched.next()
    assert missing.kind == "mistake"
    assert "parent.yaml" in missing.mistake
    parent.write_text(dump_constitution(constitution(*PRINCIPLES)))
    found, calls = watched.next()
    assert (found.kind, calls) == ("judged", [])
    parent.write_text(dump_constitution(constitution(principle("kind", "doubt", weight=4.0), *PRINCIPLES[1:])))
    edited, calls = watched.next()
    assert edited.files == (str(watched.file), str(parent), str(watched.template))
    assert under(calls) == {"doubt"}


def test_another_template_asks_everything_and_a_broken_one_nothing(watched):
    good = watched.template.read_text()
    watched.template.write_text(good.replace("{{ principle }}", "{{ principal }}"))
    assert (watched.next()[0].kind, len(watched.calls["judge"])) == ("mistake", 6 * watched.num_pairs)
    watched.template.write_text(good.replace("{{ question }}", "{{ question }} Think well."))
    done, calls = watched.next()
    assert len(calls) == 6 * watched.num_pairs
    assert done.reasons == (f"template changed: judge ({len(calls)} judge calls)",)


def test_a_newer_save_overtakes_the_one_that_is_judged_and_what_was_answered_is_kept(watched):
    begun = len(watched.calls["judge"])
    watched.at_call[begun + 7] = lambda: watched.save(principle("kind", "honest", weight=4.0), *PRINCIPLES[1:])
    watched.save(principle("kind", "doubt", weight=4.0), *PRINCIPLES[1:])
    given_up, calls = watched.next()
    assert (given_up.kind, given_up.asked, len(calls), under(calls)) == ("overtaken", 7, 7, {"doubt"})
    newest, calls = watched.next()
    assert (newest.kind, under(calls), len(calls)) == ("judged", {"honest"}, 2 * watched.num_pairs)
    watched.save(principle("kind", "doubt", weight=4.0), *PRINCIPLES[1:])
    _, calls = watched.next()
    assert (under(calls), len(calls)) == ({"doubt"}, 2 * watched.num_pairs - 7)
    asked = [one for one in watched.happened if one in ("judge asked", "judge answered")]
    assert all(one != other for one, other in pairwise(asked))  # what was given up has ended before the next begins


def test_a_save_while_the_start_is_judged_waits_for_it(desk):
    desk.at_call[20] = lambda: desk.save(principle("kind", "doubt", weight=4.0), *PRINCIPLES[1:])
    start, calls = desk.next()
    assert under(calls) == {"kind", "example", "short"}
    assert start.kind == "start"
    done, calls = desk.next()
    assert (done.kind, under(calls), done.difference.turned["kind"] > 0) == ("judged", {"doubt"}, True)


def test_a_save_between_reading_and_judging_is_not_missed(watched):
    watched.at_read.append(lambda: watched.save(principle("kind", "honest", weight=4.0), *PRINCIPLES[1:]))
    watched.save(principle("kind", "doubt", weight=4.0), *PRINCIPLES[1:])
    assert watched.next()[0].kind == "overtaken"
    done, calls = watched.next()
    assert (done.kind, under(calls)) == ("judged", {"honest"})


@pytest.mark.parametrize(("mode", "calls_each"), [("reasoned", 4), ("score", None)])
def test_every_mode_is_watched_and_an_edit_asks_about_its_principle_alone(tmp_path, mode, calls_each):
    """Reasons and verdicts, both orders: four calls a pair; scores: one an answer."""
    desk = Desk(tmp_path, mode=mode)
    start, calls = desk.next()
    pairs = desk.pairs()
    each = calls_each * len(pairs) if calls_each else len({one.id for pair in pairs for one in (pair.x, pair.y)})
    assert start.asked == len(calls) == 3 * each
    assert not any("nothing to ask" in note for note in desk.progress.notes)
    desk.save(principle("kind", "doubt", weight=4.0), *PRINCIPLES[1:])
    done, calls = desk.next()
    assert (done.asked, len(calls), under(calls)) == (each, each, {"doubt"})
    assert {reason.split(" (")[0] for reason in done.reasons} == {"principle 'kind' changed: text"}
    before, after = (
        [leads(words, pair) for pair in pairs]
        for words in (("kind", "example", "short"), ("doubt", "example", "short"))
    )
    assert done.difference.counts["flipped"] == sum(was * now < 0 for was, now in zip(before, after, strict=True)) > 0
    desk.save(*PRINCIPLES)
    done, calls = desk.next()
    assert (done.asked, calls) == (0, [])
    assert desk.progress.notes[-1] == "plan: nothing to ask, every verdict is in the store"


def test_anchors_are_asked_about_where_answers_are_scored(tmp_path):
    desk = Desk(tmp_path, mode="score")
    desk.next()
    desk.save(PRINCIPLES[0].model_copy(update={"anchors": {1: "cold", 10: "warm"}}), *PRINCIPLES[1:])
    done, calls = desk.next()
    assert under(calls) == {"kind"}
    assert done.reasons == (f"principle 'kind' changed: anchors ({len(calls)} judge calls)",)


def test_the_policy_is_gone_before_the_judge_comes_and_the_judge_stays(watched):
    for word in ("doubt", "honest"):
        watched.save(principle("kind", word, weight=4.0), *PRINCIPLES[1:])
        watched.next()
    assert watched.happened[:5] == ["policy opened", "policy asked", "policy answered", "policy closed", "judge opened"]
    assert watched.happened.count("judge opened") == 1
    assert "judge closed" not in watched.happened
    watched.rounds.close()
    assert watched.happened[-1] == "judge closed"


def test_what_the_store_has_is_not_sampled_and_what_was_judged_while_watching_is_there_afterwards(watched):
    watched.save(principle("kind", "doubt", weight=4.0), *PRINCIPLES[1:])
    watched.next()
    watched.rounds.close()
    watched.happened.clear()
    watched.rounds = watched.start()
    _, calls = watched.next()
    assert calls == []
    assert watched.happened == ["judge opened"]
    with Session(watched.model("judge", ())) as session:  # as the next run asks, about all the same pairs
        template, judge = load_template("judge"), session.model.identity
        mode = mode_of(settings().judge, load_constitution(watched.file), template, judge)
        hear_pairs(mode, watched.pairs(), session=session, store=watched.store, progress=Quiet())
        assert "judge asked" not in watched.happened


def test_an_engine_that_dies_ends_it_with_what_was_answered_kept(tmp_path):
    desk = Desk(tmp_path, judge_faults=Faults(crash_after=60))
    with pytest.raises(EngineCrashed):
        desk.next()
    assert desk.happened[-1] == "judge closed"
    assert len(desk.store.read("judgments")) == 60


def test_what_fails_is_counted_and_asked_again_at_the_next_save(tmp_path):
    desk = Desk(tmp_path, judge_faults=Faults(failed=0.2))
    start, _ = desk.next()
    failed = start.outcomes["failed"]
    assert failed > 0
    desk.file.write_text(f"# touched\n{desk.file.read_text()}")
    done, calls = desk.next()
    assert len(calls) == failed
    assert done.reasons == (f"failed, refused or unfinished last time ({failed} judge calls)",)


def test_a_principle_that_no_sampled_prompt_has_the_tags_of_is_named(watched):
    watched.save(*PRINCIPLES, principle("rare", "rare", tags=frozenset({"medicine"})))
    done, calls = watched.next()
    assert (done.sampled.unheard, calls) == (("rare",), [])


def test_answers_that_are_all_alike_are_an_error(tmp_path):
    desk = Desk(tmp_path)
    alike = desk.model("policy", (lambda _request: "Always the same.",))
    with pytest.raises(IncompleteRun, match="no two answers to compare"):
        sample_pairs(settings(), desk.prompts, [alike], store=desk.store, progress=Quiet())


def test_the_sample_does_not_depend_on_order_and_grows_by_adding():
    asked = prompts(50)
    for small, large in pairwise(set(draw(asked, n)) for n in (1, 10, 30, 50, 70)):
        assert small < large or large == set(asked)
    assert len(draw(asked, 10)) == 10
    assert set(draw(asked[::-1], 10)) == set(draw(asked, 10))
    places = [asked.index(prompt) for prompt in draw(asked, 10)]
    assert places == sorted(places) != list(range(10))


def test_every_round_is_one_line_of_json(watched):
    import json

    watched.save(principle("kind", "doubt", weight=4.0), *PRINCIPLES[1:])
    done = [watched.next()[0]]
    watched.file.write_text("name: [")
    done.append(watched.next()[0])
    for number, one in zip(count(1), done, strict=False):
        told = json.loads(json.dumps(one.as_json()))
        assert told["round"] == number
        assert told.keys() == done[0].as_json().keys()
