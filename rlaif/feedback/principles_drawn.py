"""Which principles a judge is asked about for a pair: all that apply, or a few drawn by the pair's id.

Constitutional AI (arXiv:2212.08073, section 4.1) draws one principle per comparison and lets many comparisons stand
for the constitution. Each principle gets a number from the pair's id and its own; the lowest are drawn, each with the
same chance. So an edited principle keeps its pairs, a new one takes only what it is asked itself, and where one goes,
the next in line takes its place: nothing else is asked again. Weights play no part in the draw, they act in the label.
"""

from rlaif.constitution import Constitution, Principle
from rlaif.identity import digest
from rlaif.records import ResponsePair
from rlaif.settings import JudgeSettings


def principles_asked(pair: ResponsePair, constitution: Constitution, settings: JudgeSettings) -> tuple[Principle, ...]:
    """The principles the judge is asked about, in the constitution's order. Checks are not drawn: they are free."""
    judged, wanted = constitution.judged_for_tags(pair.prompt.tags), settings.principles_per_pair
    if wanted is None or wanted >= len(judged):
        return judged
    drawn = sorted(judged, key=lambda one: digest({"draw": pair.id, "principle": one.id}))[:wanted]
    return tuple(one for one in judged if one in drawn)
