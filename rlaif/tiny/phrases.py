"""How people name each property: verb phrases that say an answer has it, and phrases that say it lacks it.

A phrase is written in its base form ("be polite", "admit doubt"); `wordings` bends it. In every list the phrases after
the bar `|` are kept out of training. Their words are not: a model this small cannot know a word it never read.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phrases:
    """The trained and the held-out ways to say that an answer has a property, and that it lacks it."""

    has: tuple[str, ...]
    has_held_out: tuple[str, ...]
    lacks: tuple[str, ...]
    lacks_held_out: tuple[str, ...]


def _phrases(has: str, lacks: str) -> Phrases:
    def halves(listed: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        trained, held_out = listed.split("|")
        return tuple(map(str.strip, trained.split(";"))), tuple(map(str.strip, held_out.split(";")))

    return Phrases(*halves(has), *halves(lacks))


PHRASES = {
    "polite": _phrases(
        "be polite; be kind; be polite and kind; be courteous; be friendly; be warm and friendly; be gentle; "
        "be polite to the reader; treat the reader kindly; treat the person with kindness; show good manners; "
        "show kindness; show courtesy to the reader; use polite words; use friendly words; thank the reader; "
        "speak kindly; speak with courtesy; greet the reader warmly; be respectful; show respect; be nice to the user; "
        "have good manners; thank the person who asked; thank the user; have a friendly tone; use a polite tone "
        "| be kind and friendly; show courtesy; speak in a polite tone; treat the user with respect",
        "lack good manners; lack kindness; leave out polite words; be without courtesy | lack courtesy",
    ),
    "rude": _phrases(
        "be rude; be rude to the reader; insult the reader; insult the person who asked; insult the user; "
        "be insulting; be hostile; use rude words; use insults; speak harshly; be harsh; mock the reader; "
        "mock the user; be unfriendly and harsh; show contempt; speak with contempt; call the reader names; "
        "have a hostile tone; scold the person; offend the reader; be offensive; contain insults; "
        "attack the reader; be nasty to the user "
        "| be harsh and rude; mock the person who asked; use a hostile tone; offend the user",
        "be free of insults; leave out rude words; be without contempt; contain no insults | be free of rude words",
    ),
    "doubt": _phrases(
        "admit doubt; express doubt; admit that it may be wrong; say that it is not sure; be open about doubt; "
        "admit uncertainty; show uncertainty; express uncertainty; be humble about what it knows; "
        "say what it does not know; admit the limits of its knowledge; be honest about uncertainty; "
        "admit what it does not know; admit that it is a guess; voice some doubt; hedge its claims; hedge; "
        "be modest about its knowledge; say when it is unsure; be unsure; be tentative; concede that it may be wrong; "
        "say that it does not know | express some uncertainty; admit that it is unsure; be honest about its limits; "
        "say that it may be wrong",
        "be free of doubt; leave out any doubt; be without uncertainty; hide all doubt | be free of uncertainty",
    ),
    "certain": _phrases(
        "claim certainty; claim to be certain; sound certain; be overconfident; be too sure of itself; "
        "promise that it is right; guarantee that it is right; claim to know everything; present itself as certain; "
        "be absolutely sure; claim that it cannot fail; sound absolutely certain; boast of its certainty; "
        "express full confidence; be fully confident; be completely sure; state things with full certainty; "
        "insist that it is right; speak with full confidence; give a guarantee; make firm promises; "
        "sound overconfident; claim to be never wrong | be absolutely certain; sound fully confident; "
        "claim full certainty; insist that it cannot fail",
        "be free of guarantees; leave out claims of certainty; be without overconfidence; make no firm promises "
        "| be free of firm promises",
    ),
    "flatters": _phrases(
        "flatter the reader; flatter the user; flatter; praise the reader; praise the person who asked; use flattery; "
        "contain flattery; give compliments to the reader; pay compliments; compliment the user; admire the reader; "
        "call the reader brilliant; be full of flattery; be flattering; tell the reader how clever they are; "
        "shower the reader with praise; be sycophantic; heap praise on the user; butter up the reader; "
        "flatter the person who asked; offer compliments; lavish praise on the reader; be a flatterer "
        "| praise the user; contain compliments; be full of praise for the reader; tell the user how clever they are",
        "be free of flattery; leave out compliments; be without praise for the reader; contain no flattery "
        "| be free of compliments",
    ),
    "moralises": _phrases(
        "moralise; preach; lecture the reader; lecture the user about morals; preach to the reader; be preachy; "
        "give a moral lesson; talk about virtue and duty; sermonise; speak of virtue; remind the reader of duty; "
        "teach morals; contain a sermon; contain moral lessons; be moralising; appeal to conscience; judge morals; "
        "preach about right and wrong; lecture about duty; give a sermon; tell the reader how to live; "
        "tell the person to be good; have a preachy tone | preach to the user; be moralising and preachy; "
        "contain a moral lesson; lecture the reader about virtue",
        "be free of sermons; leave out moral lessons; be without preaching; contain no sermon "
        "| be free of moral lessons",
    ),
    "example": _phrases(
        "give an example; contain an example; offer an example; use an example; include an example; name an example; "
        "show an example; illustrate the point; illustrate what it says; give examples; present a concrete case; "
        "name a concrete case; use a case to illustrate; bring an example; mention an example; point to an example; "
        "provide an example; provide a concrete example; be illustrated with an example; cite an example; "
        "cite a case; describe a case; support its point with an example | provide examples; include a concrete case; "
        "illustrate the point with an example; mention a case",
        "lack an example; leave out examples; be without examples; contain no example | lack examples",
    ),
    "asks": _phrases(
        "ask a question; ask a question back; ask something back; contain a question; end in a question; "
        "ask the reader a question; ask the user something; put a question to the reader; ask for more details; "
        "ask for more information; ask back; include a question; raise a question; pose a question; "
        "ask the person for details; invite a reply with a question; ask a counter question; ask questions; "
        "ask what the reader needs; return a question; want to know more from the user; question the reader "
        "| ask the user a question; ask questions back; pose a question to the reader; ask for information",
        "lack a question; leave out questions; be without a question; contain no question | lack questions",
    ),
    "reason": _phrases(
        "give a reason; give reasons; explain why; state a reason; offer a reason; contain a reason; name a cause; "
        "explain the cause; say why; tell the reader why; back up what it says with a reason; include a reason; "
        "provide a reason; provide an explanation; explain itself; justify what it says; justify its advice; "
        "support what it says with a reason; explain its advice; offer a justification; name the reason; "
        "give an explanation; give a cause; be backed by a reason | provide reasons; explain the reason; "
        "justify its advice with a reason; tell the user why",
        "lack a reason; leave out the reason; be without an explanation; contain no reason | lack an explanation",
    ),
    "declines": _phrases(
        "decline; decline to help; refuse; refuse to help; refuse to answer; turn the request down; say no; "
        "decline the request; refuse the request; reject the request; deny the request; withhold help; deny help; "
        "be a refusal; contain a refusal; say that it will not help; be unwilling to help; decline to answer; "
        "reject what the user asks; turn the reader down; give no help; turn down the user "
        "| refuse what the user asks; say no to the request; be unwilling to answer; turn the user down",
        "be free of refusals; contain no refusal; be without a refusal; leave out any refusal | lack a refusal",
    ),
    "warns": _phrases(
        "warn of danger; warn the reader; warn the user; give a warning; contain a warning; mention a danger; "
        "mention the risk; point out the danger; point out a risk; include a warning; tell the reader to be careful; "
        "advise caution; urge caution; urge the reader to take care; name a danger; caution the reader; "
        "speak of danger; speak of risks; remind the user of safety; care about safety; add a warning; "
        "issue a warning; advise the reader to be careful "
        "| warn the person who asked; mention a risk; urge the user to be careful; warn about danger",
        "lack a warning; leave out warnings; be without a warning; contain no warning | lack warnings",
    ),
    "long": _phrases(
        "be long; be detailed; be long and detailed; be lengthy; go into detail; have many words; use many words; "
        "be wordy; be verbose; be extensive; have many sentences; say a lot; give many details; be thorough and long; "
        "contain many sentences; go on and on; be long-winded; take many words; run long; be expansive; "
        "give a lengthy account; write at length; speak at length | be lengthy and detailed; contain many words; "
        "be wordy and long; go on at length",
        "be short; be brief; be concise; be short and simple; keep it short; keep it brief; use few words; "
        "have few sentences; be terse; get to the point quickly; say little; contain few words; be compact; "
        "be succinct; stay short; stay brief | be brief and simple; have few words; be short and concise",
    ),
}
