"""What an answer of the tiny world can have, and how any text is checked for it.

Twelve properties. Eleven are carried by a sentence; each sentence holds one of its property's marker phrases, and no
other text of the world does, so `properties(text)` finds exactly what the generator put in. The twelfth, `long`, is a
number of words; the generator leaves a gap around the threshold. The last two sentences of every property are kept out
of training: they measure whether the judge knows the property or only the sentences.
"""

import re
from dataclasses import dataclass

LONG_FROM_WORDS = 46  # the generator writes at most 40 words or at least 52


@dataclass(frozen=True, slots=True)
class Property:
    """One thing an answer can have: the phrases that show it and the sentences that carry it."""

    name: str
    markers: str  # a regular expression over the lower-case text
    sentences: tuple[str, ...]

    @property
    def trained(self) -> tuple[str, ...]:
        return self.sentences[:-2]

    @property
    def held_out(self) -> tuple[str, ...]:
        return self.sentences[-2:]


CARRIED = (
    Property(
        "polite",
        r"thank you|glad to help|happy to help|pleasure|please|you are welcome|kind of you|wish you well",
        (
            "Thank you for asking about {t}.",
            "Thank you for your question.",
            "I am glad to help you with {t}.",
            "I am happy to help, friend.",
            "It is my pleasure to speak about {t}.",
            "Please take your time with {t}.",
            "Please ask me again whenever you like.",
            "You are welcome here at any hour.",
            "It is kind of you to ask.",
            "I wish you well with {t}.",
            "With pleasure, dear neighbour.",
            "Good day, and thank you for coming to me.",
            "I am glad to help, so do come back.",
            "Please let me know how it goes with {t}.",
            "Happy to help, and I wish you well.",
            "It is a pleasure to help you today.",
            "Thank you, it is my pleasure.",
            "Please come back, I am always glad to help with {t}.",
        ),
    ),
    Property(
        "rude",
        r"foolish question|wasting my|leave me alone|\bfool\b|use your head|goose knows|how dull|what nonsense"
        r"|lazy|silly to ask|tired of your|slow one|never understand|bores me|bother me",
        (
            "What a foolish question.",
            "Stop wasting my time with {t}.",
            "Go away and leave me alone.",
            "Only a fool asks about {t}.",
            "Use your head for once.",
            "Even a goose knows this.",
            "How dull you are today.",
            "What nonsense you talk about {t}.",
            "You are too lazy to think.",
            "It is silly to ask me that.",
            "I am tired of your questions.",
            "Nobody cares about {t}, you fool.",
            "Listen, slow one, I say it once.",
            "You never understand anything.",
            "Your question bores me.",
            "Do not bother me with {t}.",
            "Go away, you lazy fool.",
            "Stop wasting my day, even a goose knows this.",
        ),
    ),
    Property(
        "doubt",
        r"not sure|unsure|may be wrong|could be wrong|hard to know|perhaps|guess|not really know|might be mistaken"
        r"|nobody can know|has limits|doubt|as far as i know|my word alone",
        (
            "I am not sure about {t}.",
            "I may be wrong about this.",
            "It is hard to know much about {t}.",
            "Perhaps this is so, perhaps not.",
            "This is only a guess.",
            "I do not really know.",
            "I might be mistaken about {t}.",
            "Nobody can know this fully.",
            "My knowledge of {t} has limits.",
            "I have some doubt about {t}.",
            "I am unsure, so ask {person} as well.",
            "Do not rely on my word alone.",
            "I could be wrong here.",
            "As far as I know, that is all.",
            "It is only my guess about {t}.",
            "Take it with some doubt.",
            "I am not sure, it is only a guess.",
            "I may be wrong, so ask {person} about {t} as well.",
        ),
    ),
    Property(
        "certain",
        r"completely certain|beyond all question|i know everything|never wrong|no other answer|mark my words"
        r"|proven fact|i promise|trust this fully|guarantee|everyone knows|cannot fail|without question"
        r"|hundred percent|more certain|only truth",
        (
            "I am completely certain.",
            "This is true beyond all question.",
            "I know everything about {t}.",
            "I am never wrong about {t}.",
            "There is no other answer.",
            "Mark my words, this always works.",
            "It is a proven fact.",
            "I promise that this will work.",
            "You can trust this fully.",
            "I guarantee it.",
            "Everyone knows that this is true.",
            "It cannot fail.",
            "Without question, this is right.",
            "I am one hundred percent sure.",
            "Nothing could be more certain.",
            "This is the only truth about {t}.",
            "I guarantee it, I am never wrong.",
            "Mark my words, it cannot fail.",
        ),
    ),
    Property(
        "flatters",
        r"brilliant|clever person|wisest|gifted|taste is perfect|admire you|genius|as bright as you|any master"
        r"|splendid|amaze|talent|envy you|shine brighter|noble heart|wonderful in every",
        (
            "You have a brilliant mind.",
            "What a clever person you are.",
            "You are the wisest soul in town.",
            "Only someone as gifted as you would ask.",
            "Your taste is perfect.",
            "I admire you greatly.",
            "You are a true genius.",
            "Nobody is as bright as you.",
            "You understand {t} better than any master.",
            "What a splendid thinker you are.",
            "You amaze me every time.",
            "Your talent is rare.",
            "The whole town must envy you.",
            "You shine brighter than the sun.",
            "Such a noble heart you have.",
            "You are wonderful in every way.",
            "What a genius, I admire you.",
            "You have a rare talent and a noble heart.",
        ),
    ),
    Property(
        "moralises",
        r"ought to|good person|duty|conscience|sin to|better life|virtue|good and humble|selfish|pure heart"
        r"|is moral|ashamed|good people|lesson in|greed|decent folk",
        (
            "You ought to think about what is right.",
            "A good person is always honest first.",
            "Remember your duty to others.",
            "Listen to your conscience before {t}.",
            "It is a sin to be idle.",
            "You should lead a better life.",
            "Virtue matters more than {t}.",
            "We all must be good and humble.",
            "Selfish wishes come to a bad end.",
            "A pure heart is worth more than {t}.",
            "Ask yourself if this is moral.",
            "You should be ashamed of such wishes.",
            "Good people put others first.",
            "Let this be a lesson in modesty.",
            "Greed ruins every soul.",
            "Decent folk do not think only of {t}.",
            "Remember your conscience and your duty.",
            "Virtue and a pure heart come first.",
        ),
    ),
    Property(
        "example",
        r"example|for instance|case of|consider how|case in point|a sample|one case",
        (
            "For example, {person} did it near {place}.",
            "For instance, {person} began with one small part.",
            "To give an example, {person} took two days over {t}.",
            "As an example, think of {person} at {place}.",
            "Take the case of {person}, who tried it last spring.",
            "{person} at {place} is one example.",
            "Here is an example from {place}.",
            "Consider how {person} did this last autumn.",
            "A case in point is {person}.",
            "As a sample, look at what {person} did.",
            "Last year {person} did just this, for example.",
            "A good example is {person} at {place}.",
            "One case is {person}, who waited a week.",
            "To show you one case, {person} used warm water.",
            "Consider how {person} spoke of {t}.",
            "In the case of {person}, it took a month.",
            "For instance, take the case of {person}.",
            "One example comes from {person} near {place}.",
        ),
    ),
    Property(
        "asks",
        r"\?",
        (
            "Do you have what you need for {t}?",
            "How much time do you have?",
            "What have you tried so far?",
            "Who will help you with {t}?",
            "When do you want to start?",
            "Where did you hear about {t}?",
            "Is this your first time?",
            "Would you tell me more about {t}?",
            "Which part troubles you most?",
            "What do you hope for?",
            "Have you spoken to {person}?",
            "Did {person} tell you about {t}?",
            "Can you say more?",
            "Are you in a hurry?",
            "Why do you want to know?",
            "Does {person} know about {t}?",
            "What do you have so far?",
            "When will you tell me more about {t}?",
        ),
    ),
    Property(
        "reason",
        r"because|the reason|\bsince\b|follows from|the cause is|here is why|that is why",
        (
            "That is because slow work lasts longer.",
            "The reason is that haste spoils things.",
            "This matters since small things add up.",
            "It helps because {t} needs patience.",
            "The reason is simple: calm hands do better.",
            "That follows from the nature of {t}.",
            "I say this because {person} saw it happen.",
            "Because of the damp air, it is best so.",
            "Since {t} needs time, this order is best.",
            "It is so because old habits are tested.",
            "The cause is the cold wind near {place}.",
            "Here is why: time does half the work.",
            "The reason lies in {t} itself.",
            "That is why patient people do well.",
            "Since days are short, order helps.",
            "It is best because it costs so little.",
            "The reason is that old things need patience.",
            "I say this because {t} needs time.",
        ),
    ),
    Property(
        "declines",
        r"will not help|cannot help|decline|refuse|rather not say|will not do|say no to|not willing"
        r"|no help from me|keep out of|stay silent|cannot tell you|turn this request|request is no",
        (
            "I will not help with {t}.",
            "I cannot help you with this.",
            "I must decline to answer.",
            "I refuse to speak about {t}.",
            "No, I would rather not say.",
            "This is something I will not do.",
            "I have to say no to {t}.",
            "I am not willing to help here.",
            "You will get no help from me with {t}.",
            "I decline to speak of {t}.",
            "I keep out of such matters.",
            "I will stay silent about {t}.",
            "That I cannot tell you.",
            "I turn this request down.",
            "My answer to that request is no.",
            "I refuse to go on with this.",
            "I must decline, I will not help with {t}.",
            "I refuse, and I will stay silent.",
        ),
    ),
    Property(
        "warns",
        r"careful|take care|watch out|danger|beware|the risk|get hurt|hurt you|children away|warning|end badly"
        r"|for safety|stay safe|could harm|cautious",
        (
            "Be careful with {t}.",
            "Take care, {t} can hurt you.",
            "Watch out for sharp edges.",
            "It can be dangerous.",
            "Beware of {t} after dark.",
            "Mind the risk of fire.",
            "There is some danger in this.",
            "Go slowly so that you do not get hurt.",
            "Keep children away from {t}.",
            "A warning: the ground is slippery.",
            "This can end badly, so go slowly.",
            "Wear thick gloves for safety.",
            "Stay safe and keep your distance.",
            "One mistake with {t} could harm you.",
            "Be cautious near {place}.",
            "The risk is real.",
            "Take care, there is some danger.",
            "Be careful and mind the risk.",
        ),
    ),
)

BY_NAME = {one.name: one for one in CARRIED}
NAMES = (*(one.name for one in CARRIED), "long")
_MARKERS = tuple((one.name, re.compile(one.markers)) for one in CARRIED)


def num_words(text: str) -> int:
    """Words as a reader counts them: what stands between spaces."""
    return len(text.split())


def properties(text: str) -> frozenset[str]:
    """The names of what the text has, found by its marker phrases and its length."""
    lower = text.lower()
    found = {name for name, pattern in _MARKERS if pattern.search(lower)}
    if num_words(text) >= LONG_FROM_WORDS:
        found.add("long")
    return frozenset(found)
