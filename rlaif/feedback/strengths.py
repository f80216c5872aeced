"""How strong each answer of a run is, with its standard error: the rows of `strengths.parquet`.

Bradley–Terry strengths in log-odds, fitted to the soft labels of a prompt's comparisons; they sum to 0 over the answers
that comparisons connect. The standard error takes each comparison as one vote, which a judge's probability is not: it
says how far the schedule pins an answer down, not how good the judge is (`rlaif/numbers/bradley_terry.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from rlaif.numbers.bradley_terry import Comparisons, Strengths, fit_many
from rlaif.records import LabelledPair, Response

STRENGTH_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("response_id", pa.string()),
        ("policy", pa.string()),
        ("comparisons", pa.int64()),
        ("strength", pa.float64()),
        ("standard_error", pa.float64()),
    ]
)


def strength_rows(labelled: Iterable[LabelledPair]) -> Iterator[dict[str, Any]]:
    """A row per answer that has a label, prompt by prompt (whose pairs stand together), by id."""
    heard = [one for one in labelled if one.probability is not None]
    prompts = [list(own) for _, own in groupby(heard, key=lambda one: one.pair.prompt.id)]
    answers = [_answers(own) for own in prompts]
    fitted = fit_many([_comparisons(own, ids) for own, ids in zip(prompts, answers, strict=True)])
    for own, found, strengths in zip(prompts, answers, fitted, strict=True):
        assert isinstance(strengths, Strengths)  # with a ridge there always is one
        errors = strengths.standard_errors
        for place, response in enumerate(found):
            yield {
                "prompt_id": response.prompt_id,
                "response_id": response.id,
                "policy": response.policy,
                "comparisons": sum(response.id in (one.pair.x.id, one.pair.y.id) for one in own),
                "strength": float(strengths.values[place]),
                "standard_error": float(errors[place]),
            }


def _answers(labelled: Sequence[LabelledPair]) -> list[Response]:
    found = {response.id: response for one in labelled for response in (one.pair.x, one.pair.y)}
    return [found[name] for name in sorted(found)]


def _comparisons(labelled: Sequence[LabelledPair], answers: Sequence[Response]) -> Comparisons:
    place = {response.id: number for number, response in enumerate(answers)}
    rows = [(place[one.pair.x.id], place[one.pair.y.id], one.probability or 0.0) for one in labelled]
    return Comparisons.of(len(answers), rows)
