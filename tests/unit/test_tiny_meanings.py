"""Reading a principle back: what was written is what is read, and nothing else is."""

import yaml

from rlaif.bundled import project_file
from rlaif.tiny.meanings import Meaning, _sentences, meaning_of
from rlaif.tiny.wordings import AVOID, PREFER, write_unrelated, write_wording
from rlaif.tiny.world import seeded


def test_every_wording_reads_back_as_what_it_was_written_for():
    rng = seeded("meanings")
    for split in ("train", "frame", "phrase", "composition"):
        for _ in range(500):
            said = write_wording(rng, split=split)
            assert meaning_of(said.text) == Meaning(said.property, said.direction), said.text


def test_no_sentence_has_two_meanings():
    seen = {}
    for sentence, meaning in _sentences():
        assert seen.setdefault(sentence, meaning) == meaning, sentence


def test_a_principle_about_something_else_has_no_meaning():
    rng = seeded("meaningless")
    assert [said.text for _ in range(500) if meaning_of((said := write_unrelated(rng)).text)] == []
    assert meaning_of("Be good.") is None


def test_small_yaml_is_read_as_people_read_it_and_its_turned_lines_as_the_contrary():
    text = project_file("constitution/small.yaml").read_text()
    document = yaml.safe_load(text)
    turned = [line.split("# text: ")[1] for line in text.splitlines() if "# text: " in line]
    wanted = {"polite": PREFER, "doubt": PREFER, "reason": PREFER, "flatters": AVOID, "moralises": AVOID, "long": AVOID}
    found = [meaning_of(one["text"]) for one in document["principles"]]
    assert {one.property: one.direction for one in found} == wanted
    assert [meaning_of(line) for line in turned] == [Meaning(one.property, -one.direction) for one in found]


def test_an_answer_meets_a_principle_that_avoids_what_it_lacks():
    assert Meaning("long", AVOID).is_met(frozenset({"polite"}))
    assert not Meaning("long", AVOID).is_met(frozenset({"long"}))
    assert Meaning("long", PREFER).is_met(frozenset({"long"}))
