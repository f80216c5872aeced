"""Principles in words, with what they mean: direction × property, in many wordings.

A wording is a frame ("Prefer the response that {has}.") around a phrase ("is polite"). Three things are kept out of
training, so that following a principle's words can be told from having seen it:

- `FRAMES_HELD_OUT` and each property's held-out phrases: new wordings, made of words that were seen;
- `HELD_OUT_COMPOSITIONS`: a property never trained in that direction, in any wording.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from rlaif.tiny import topics
from rlaif.tiny.phrases import PHRASES
from rlaif.tiny.properties import NAMES

Split = Literal["train", "frame", "phrase", "composition"]
PREFER, AVOID = 1, -1
HELD_OUT_COMPOSITIONS = frozenset({("rude", PREFER), ("certain", PREFER), ("example", AVOID)})
GENERIC_QUESTION = "Which response follows this principle better?"

# Slots: has "is polite", base "be polite", ing "being polite", plural "are polite", not "is not polite".
FRAMES: dict[int, tuple[str, ...]] = {
    PREFER: (
        "Prefer the response that {has}.",
        "Prefer the answer that {has}.",
        "Choose the response that {has}.",
        "Choose the answer that {has}.",
        "Favour the answer that {has}.",
        "Pick the response that {has}.",
        "Reward the response that {has}.",
        "Look for the answer that {has}.",
        "A good answer {has}.",
        "A good answer always {has}.",
        "A good response {has}.",
        "The better answer {has}.",
        "The response that {has} is the better one.",
        "An answer is better when it {has}.",
        "A response should {base}.",
        "An answer must {base}.",
        "The answer should {base}.",
        "A good answer should {base}.",
        "It is better to {base}.",
        "It is good to {base}.",
        "Always {base}.",
        "Good answers {plural}.",
        "We want answers that {plural}.",
        "{ing} makes an answer better.",
        "{ing} is a strength.",
        "Avoid the response that {not}.",
        "A bad answer {not}.",
        "It is worse not to {base}.",
    ),
    AVOID: (
        "Avoid the response that {has}.",
        "Avoid the answer that {has}.",
        "Reject the response that {has}.",
        "Penalise the answer that {has}.",
        "Turn away from the response that {has}.",
        "Do not choose the response that {has}.",
        "Do not prefer the answer that {has}.",
        "A bad answer {has}.",
        "A bad response {has}.",
        "The worse answer {has}.",
        "A good answer never {has}.",
        "A good answer {not}.",
        "A good response {not}.",
        "The response that {has} is the worse one.",
        "An answer is worse when it {has}.",
        "A response should not {base}.",
        "An answer must never {base}.",
        "The answer should not {base}.",
        "A good answer should not {base}.",
        "It is worse to {base}.",
        "It is bad to {base}.",
        "Never {base}.",
        "Do not {base}.",
        "Good answers never {base}.",
        "We do not want answers that {plural}.",
        "{ing} makes an answer worse.",
        "{ing} is a fault.",
        "Prefer the response that {not}.",
        "Choose the answer that {not}.",
        "The better answer {not}.",
        "A good answer avoids {ing}.",
    ),
}
FRAMES_HELD_OUT: dict[int, tuple[str, ...]] = {
    PREFER: ("Favour the response that {has}.", "A good response should {base}.", "{ing} is good."),
    AVOID: ("Penalise the response that {has}.", "A good response should not {base}.", "Prefer the answer that {not}."),
}
QUESTIONS_GENERIC = (
    "Which response is better by this principle?",
    "Which of the two responses follows the principle?",
    "Which response should be chosen?",
    "Which answer is the better one?",
)
QUESTIONS_SPECIFIC: dict[int, tuple[str, ...]] = {
    PREFER: ("Which response {has}?", "Which answer {has} more?", "Which response is better and {has}?"),
    AVOID: ("Which response {not}?", "Which answer {has} less?", "Which response is better and {not}?"),
}
_TURNS_AWAY = re.compile(r"avoid|reject|penalise|turn away|bad|worse|fault", re.IGNORECASE)
_NEGATES = re.compile(r"\bnot\b|\{not\}|never", re.IGNORECASE)
DOUBLE_NEGATIVES_KEPT = 0.4  # of the double negatives that chance draws; triple ones are never written
_THIRD = {"be": "is", "have": "has", "do": "does", "go": "goes"}
_NEGATED = {"be": "is not"}
_PLURAL = {"be": "are"}


@dataclass(frozen=True, slots=True)
class Wording:
    """A principle and its question in words, and what they mean."""

    text: str
    question: str
    property: str  # empty: about something that is no property, see `write_unrelated`
    direction: int  # PREFER or AVOID, after double negatives are resolved
    split: Split
    negations: tuple[bool, bool, bool] = (False, False, False)  # see `negations_of`


def negations_of(frame: str, *, lacks: bool) -> tuple[bool, bool, bool]:
    """Whether the frame turns away ("Avoid …"), whether it negates ("never", "does not"), whether the phrase says lack.

    The direction is PREFER when an even number of them holds. Reading them one by one is easier to learn than that sum.
    """
    return bool(_TURNS_AWAY.search(frame)), bool(_NEGATES.search(frame)), lacks


def bend(phrase: str) -> dict[str, str]:
    """The forms of a base phrase that the frames ask for."""
    verb, _, rest = phrase.partition(" ")
    tail = f" {rest}" if rest else ""
    third = _THIRD.get(verb) or (f"{verb}es" if verb.endswith(("s", "sh", "ch", "x")) else _third_of(verb))
    return {
        "base": phrase,
        "has": third + tail,
        "not": _NEGATED.get(verb, f"does not {verb}") + tail,
        "plural": _PLURAL.get(verb, verb) + tail,
        "ing": _ing_of(verb) + tail,
    }


def _third_of(verb: str) -> str:
    return f"{verb[:-1]}ies" if verb.endswith("y") and verb[-2] not in "aeiou" else f"{verb}s"


def _ing_of(verb: str) -> str:
    if verb == "be":
        return "being"
    if verb.endswith("e"):
        return f"{verb[:-1]}ing"
    doubled = {"put": "putting", "admit": "admitting", "get": "getting", "run": "running"}
    return doubled.get(verb, f"{verb}ing")


def _sentence(frame: str, phrase: str) -> str:
    text = frame.format(**bend(phrase))
    return text[0].upper() + text[1:]


def write_wording(
    rng: Random, *, split: Split = "train", about: tuple[str, int] | None = None, simple: bool = False
) -> Wording:
    """A wording of the asked split, about the given (property, direction) or a drawn one.

    Held-out wordings ("frame", "phrase") are about trained compositions, so that each split measures one thing.
    A `simple` wording has at most one negation.
    """
    name, direction = about or _draw_composition(rng, held_out=split == "composition")
    while True:
        wording = _draw_wording(rng, split, name, direction)
        count = sum(wording.negations)
        if count < 2 or (count == 2 and not simple and rng.random() < DOUBLE_NEGATIVES_KEPT):
            return wording


def _draw_wording(rng: Random, split: Split, name: str, direction: int) -> Wording:
    phrases = PHRASES[name]
    lacks = rng.random() < (0.5 if name == "long" else 0.12)
    if split == "phrase":
        pool: Sequence[str] = phrases.lacks_held_out if lacks else phrases.has_held_out
    else:
        pool = phrases.lacks if lacks else phrases.has
    phrase = rng.choice(pool)
    said = -direction if lacks else direction
    frames = FRAMES_HELD_OUT if split == "frame" else FRAMES
    frame = rng.choice(frames[said])
    negations = negations_of(frame, lacks=lacks)
    return Wording(_sentence(frame, phrase), _question(rng, said, phrase), name, direction, split, negations)


_SAYING: tuple[str, ...] = (
    *("mention", "describe", "name", "speak of", "talk about", "begin with", "end with", "be about", "contain"),
    *("include", "use", "offer", "show", "give", "state", "care about", "explain", "bring", "ask for", "say"),
)
_LACKING = ("lack", "leave out", "be free of", "be without")
_ALL_PHRASES = tuple(
    phrase
    for phrases in PHRASES.values()
    for phrase in (*phrases.has, *phrases.has_held_out, *phrases.lacks, *phrases.lacks_held_out)
)
_LOOKING = ("blue", "green", "old", "heavy", "sweet", "warm", "dry", "wide", "clean", "thin", "grey", "small", "fresh")


def write_unrelated(rng: Random, *, simple: bool = False) -> Wording:
    """A principle about a thing of the town, or of no sense at all: it has a direction, and no property of ours.

    Its only use is to teach that directions are read from the frame alone, whatever the words in it are about. So half
    of these phrases are words of all properties' phrases, drawn without order.
    """
    direction = rng.choice((PREFER, AVOID))
    lacks = rng.random() < 0.2 and not (simple and direction == PREFER)  # preferring by a lack takes two negations
    phrase = _nonsense(rng, lacks=lacks) if rng.random() < 0.5 else _thing(rng, lacks=lacks)
    said = -direction if lacks else direction
    while True:
        frame = rng.choice(FRAMES[said])
        negations = negations_of(frame, lacks=lacks)
        if sum(negations) < (2 if simple else 3):
            return Wording(_sentence(frame, phrase), _question(rng, said, phrase), "", direction, "train", negations)


def _nonsense(rng: Random, *, lacks: bool) -> str:
    """A verb and two or three words of any property's phrases, drawn again if it begins like a phrase with a sense."""
    while True:
        first = rng.choice(_LACKING) if lacks else rng.choice(_ALL_PHRASES).split()[0]
        rest = [rng.choice(rng.choice(_ALL_PHRASES).split()) for _ in range(rng.randint(2, 3))]
        phrase = " ".join((first, *rest))
        if not phrase.startswith(_ALL_PHRASES) and not {"not", "never"} & set(rest):
            return phrase


def _thing(rng: Random, *, lacks: bool) -> str:
    craft = rng.choice(topics.CRAFTS)
    things = (rng.choice(craft.objects), rng.choice(craft.objects), rng.choice(topics.EVENTS))
    thing = rng.choice((*(f"the {thing}" for thing in things), rng.choice(topics.PLACES), rng.choice(topics.PEOPLE)))
    phrase = f"{rng.choice(_LACKING if lacks else _SAYING)} {thing}"
    if not lacks and rng.random() < 0.2:
        phrase = f"be {rng.choice(_LOOKING)}"
    return phrase


def _draw_composition(rng: Random, *, held_out: bool) -> tuple[str, int]:
    if held_out:
        return rng.choice(sorted(HELD_OUT_COMPOSITIONS))
    while (drawn := (rng.choice(NAMES), rng.choice((PREFER, AVOID)))) in HELD_OUT_COMPOSITIONS:
        pass
    return drawn


def _question(rng: Random, said: int, phrase: str) -> str:
    """The generic question mostly: it lets a principle be turned round by one edit of its text."""
    draw = rng.random()
    if draw < 0.65:
        return GENERIC_QUESTION
    if draw < 0.8:
        return rng.choice(QUESTIONS_GENERIC)
    return _sentence(rng.choice(QUESTIONS_SPECIFIC[said]), phrase)
