"""A judge beside people: does it agree with them as well as they agree with each other?

The ceiling leaves out one person at a time and puts both the person and the judge before the majority of the others
(`rlaif/numbers/ceiling.py`). The alternative-annotator test asks person by person whether the judge may stand in
(`alternative.py`), and "worth how many people" puts the same into another unit.
"""

from typing import Any

import numpy as np

from rlaif.evaluate.comparison.agreement import listed_people
from rlaif.evaluate.comparison.batch import Batch
from rlaif.evaluate.comparison.compared import Compared
from rlaif.numbers.alternative import AlternativeAnnotator, advantage_measure, alternative_annotator_test
from rlaif.numbers.ceiling import ceiling_measures, worth_measure
from rlaif.numbers.figures import FloatArray


def add_beside(batch: Batch, compared: Compared, judge: int) -> None:
    """Under ("judges", NAME, …): the ceiling, the advantage probability, and what its vote is worth."""
    name = compared.raters[judge].name
    people, votes = compared.people_votes, compared.votes(judge)
    batch.add(("judges", name, "ceiling"), ceiling_measures(people, votes), shares=("human", "judge"))
    advantage = advantage_measure(listed_votes(compared), votes)
    batch.add(("judges", name), {"advantage": advantage, "worth_people": worth_measure(people, votes)})


def listed_votes(compared: Compared) -> FloatArray:
    """The votes of those who are compared one by one: (N, R, C)."""
    return np.stack([compared.votes(place) for place in listed_people(compared)], axis=1)


def alternative(compared: Compared, judge: int) -> dict[str, Any]:
    """The alternative-annotator test, person by person."""
    found = alternative_annotator_test(
        listed_votes(compared), compared.votes(judge), compared.prompts, epsilon=compared.terms.epsilon
    )
    if not isinstance(found, AlternativeAnnotator):
        return {"because": found.because, "n": found.n}
    names = [compared.raters[place].name for place in listed_people(compared)]
    people = {
        names[one.person]: {
            "judge": one.judge,
            "person": one.human,
            "p_value": one.p_value,
            "p_adjusted": one.adjusted,
            "is_beaten": one.is_beaten(found.false_discovery_rate),
            "n": one.n,
            "clusters": one.clusters,
        }
        for one in found.people
    }
    return {
        "passes": found.passes,
        "winning_rate": found.winning_rate,
        "epsilon": found.epsilon,
        "people": people,
        "too_few_pairs": [names[place] for place in found.too_few],
    }
