"""The grammar of the tiny world: prompts, and answers with a known mix of properties.

Everything is drawn from the `random.Random` handed in, so a seed names a text. Prompts fall on two sides by a digest of
their words: `is_held_out(prompt)` ones are for measuring and for `prompts/sets/tiny-world.jsonl`, never for training.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random

from rlaif.tiny import topics
from rlaif.tiny.properties import BY_NAME, NAMES, num_words

SHORT_MOST_WORDS = 40
LONG_LEAST_WORDS = 52
HELD_OUT_PERCENT = 15

# How often each property is drawn. `SHIFT` says what the kind of prompt changes.
BASE_RATE = {
    "polite": 0.36,
    "rude": 0.30,
    "doubt": 0.36,
    "certain": 0.30,
    "flatters": 0.27,
    "moralises": 0.27,
    "example": 0.28,
    "asks": 0.28,
    "reason": 0.32,
    "declines": 0.24,
    "warns": 0.28,
    "long": 0.42,
}
SHIFT: dict[str, dict[str, float]] = {
    "harmful": {"declines": 0.26, "moralises": 0.10, "warns": 0.08},
    "unknown": {"doubt": 0.12, "certain": 0.04},
    "opinion": {"flatters": 0.12},
}
# Two manners that nobody mixes in one answer: the second is dropped when the first was drawn.
EXCLUDES = (("polite", "rude"), ("doubt", "certain"))
KINDS = ("craft", "unknown", "harmful", "borderline", "opinion", "advice")
KIND_WEIGHTS = (0.42, 0.13, 0.14, 0.09, 0.11, 0.11)

ASK_CRAFT = (
    "How do I {v} {t}?",
    "What is the best way to {v} {t}?",
    "Can you explain how to {v} {t}?",
    "I want to {v} {t}. Where do I begin?",
    "Help me {v} {t} before {day}.",
    "{person} asked me to {v} {t}. How should I go about it?",
    "Tell me how to {v} {t}.",
    "What do I need to {v} {t}?",
    "How long does it take to {v} {t}?",
    "Is it hard to {v} {t} near {place}?",
)
FOLLOW_UP = (
    "And what comes after that?",
    "Can you tell me more about {t}?",
    "What would {person} do with {t}?",
    "Is there another way?",
    "Does that also hold for {t}?",
    "What if I have only one day for {t}?",
)
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a person asks: the turns so far (the last one the user's), the kind, and what it is about."""

    turns: tuple[str, ...]
    kind: str
    topic: str
    craft: topics.Craft | None = None

    @property
    def messages(self) -> list[dict[str, str]]:
        roles = ("user", "assistant")
        return [{"role": roles[i % 2], "content": text} for i, text in enumerate(self.turns)]

    @property
    def conversation(self) -> str:
        """The turns as the judge's template shows them."""
        names = ("User: ", "Assistant: ")
        return "\n\n".join(names[i % 2] + text for i, text in enumerate(self.turns))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and what its writer put in it."""

    text: str
    properties: frozenset[str]


def seeded(*name: object) -> Random:
    """The generator that belongs to a name, e.g. ("judge", seed, step): no draw depends on what was drawn before."""
    return Random(":".join(map(str, name)))  # noqa: S311 - chance for made-up text, not a secret


def fill(template: str, rng: Random, **fixed: str) -> str:
    """The template with its slots drawn and its first letter large."""
    draws: dict[str, Callable[[], str]] = {
        "person": lambda: rng.choice(topics.PEOPLE),
        "place": lambda: rng.choice(topics.PLACES),
        "owner": lambda: rng.choice(topics.OWNERS),
        "day": lambda: rng.choice(topics.DAYS),
        "event": lambda: rng.choice(topics.EVENTS),
    }
    text = _SLOT.sub(lambda slot: fixed.get(slot[1]) or draws[slot[1]](), template)
    return text[0].upper() + text[1:]


def write_prompt(rng: Random) -> Prompt:
    """One prompt of any kind; about one in twelve has an earlier exchange."""
    first = _single(rng)
    if rng.random() >= 0.08:
        return first
    earlier = write_answer(first, rng, wanted=frozenset()).text
    then = fill(rng.choice(FOLLOW_UP), rng, t=first.topic)
    return Prompt((*first.turns, earlier, then), first.kind, first.topic, first.craft)


def _single(rng: Random) -> Prompt:
    kind = rng.choices(KINDS, KIND_WEIGHTS)[0]
    if kind == "craft":
        craft = rng.choice(topics.CRAFTS)
        topic = f"the {rng.choice(craft.objects)}"
        return Prompt((fill(rng.choice(ASK_CRAFT), rng, v=craft.verb, t=topic),), kind, topic, craft)
    if kind == "advice":
        event = rng.choice(topics.EVENTS)
        return Prompt((fill(rng.choice(topics.ADVICE), rng, event=event),), kind, f"the {event}")
    pool = {
        "unknown": topics.UNKNOWN,
        "harmful": topics.HARMFUL,
        "borderline": topics.BORDERLINE,
        "opinion": topics.OPINIONS,
    }[kind]
    ask, about = rng.choice(pool)
    slots = {
        "person": rng.choice(topics.PEOPLE),
        "place": rng.choice(topics.PLACES),
        "owner": rng.choice(topics.OWNERS),
        "day": rng.choice(topics.DAYS),
    }
    topic = about.format(**slots).replace("my ", "your ")
    return Prompt((fill(ask, rng, **slots),), kind, topic)


def is_held_out(prompt: Prompt) -> bool:
    """Whether the prompt is kept out of training: by its first words, so a follow-up stays on its question's side."""
    digest = hashlib.sha256(prompt.turns[0].encode()).digest()
    return digest[0] % 100 < HELD_OUT_PERCENT


def draw_prompt(rng: Random, *, held_out: bool) -> Prompt:
    """A prompt of the asked side."""
    while is_held_out(prompt := write_prompt(rng)) is not held_out:
        pass
    return prompt


def draw_properties(kind: str, rng: Random) -> frozenset[str]:
    """An independent draw of every property, then the two exclusions."""
    shift = SHIFT.get(kind, {})
    drawn = {name for name in NAMES if rng.random() < BASE_RATE[name] + shift.get(name, 0.0)}
    for pair in EXCLUDES:
        if drawn.issuperset(pair):
            drawn.remove(rng.choice(pair))
    return frozenset(drawn)


def write_answer(
    prompt: Prompt,
    rng: Random,
    *,
    wanted: frozenset[str] | None = None,
    held_out_sentences: bool = False,
) -> Answer:
    """An answer on the prompt's topic with exactly the `wanted` properties (drawn when not given).

    A short answer has room for four property sentences: further ones are dropped by chance, so what an answer *has* can
    be fewer than what was wanted; it is never something else.
    """
    chosen = draw_properties(prompt.kind, rng) if wanted is None else wanted
    carried = [name for name in BY_NAME if name in chosen]
    if "long" not in chosen and len(carried) > 4:
        carried = rng.sample(carried, 4)
    for attempt in count(1):
        if attempt % 8 == 0:  # these sentences are too long to be a short answer together
            carried = carried[:-1]
        text = _compose(prompt, carried, rng, held_out=held_out_sentences, is_long="long" in chosen)
        length = num_words(text)
        if "long" in chosen and length >= LONG_LEAST_WORDS:
            return Answer(text, frozenset(carried) | {"long"})
        if "long" not in chosen and length <= SHORT_MOST_WORDS:
            return Answer(text, frozenset(carried))
    raise AssertionError("an answer of the core alone is always short enough")


def _compose(prompt: Prompt, carried: list[str], rng: Random, *, held_out: bool, is_long: bool) -> str:
    said: dict[str, str] = {}
    for name in carried:
        one = BY_NAME[name]
        said[name] = fill(rng.choice(one.held_out if held_out else one.trained), rng, t=prompt.topic)
    first = [said[name] for name in ("polite", "rude", "flatters") if name in said and rng.random() < 0.8]
    last = [said["asks"]] if "asks" in said and rng.random() < 0.7 else []
    rest = [text for text in said.values() if text not in first and text not in last and text != said.get("declines")]
    rng.shuffle(first)
    rng.shuffle(rest)
    cut = rng.randint(0, min(1, len(rest)))
    body = [said["declines"]] if "declines" in said else [_tip(prompt, rng)]
    parts = [*first, *rest[:cut], *body, *rest[cut:], *last]
    if is_long:
        parts = _lengthen(parts, len(first) + cut + 1, prompt, rng)
    return " ".join(parts)


def _lengthen(parts: list[str], at: int, prompt: Prompt, rng: Random) -> list[str]:
    """Plain sentences after the core until the answer is long; none twice."""
    plain = rng.sample(topics.PLAIN, 8)
    if prompt.craft is not None:
        plain = [*rng.sample(prompt.craft.details, rng.randint(2, 4)), *plain]
    added: list[str] = []
    total = sum(map(num_words, parts))
    while total < LONG_LEAST_WORDS and plain:
        sentence = fill(plain.pop(0), rng)
        added.append(sentence)
        total += num_words(sentence)
    rng.shuffle(added)
    return [*parts[:at], *added, *parts[at:]]


def _tip(prompt: Prompt, rng: Random) -> str:
    pool = {
        "unknown": topics.UNKNOWN_TIPS,
        "harmful": topics.HARMFUL_TIPS,
        "borderline": topics.BORDERLINE_TIPS,
        "opinion": topics.OPINION_TIPS,
        "advice": topics.ADVICE_TIPS,
    }
    tips = prompt.craft.tips if prompt.craft is not None else pool[prompt.kind]
    return fill(rng.choice(tips), rng, t=prompt.topic)
