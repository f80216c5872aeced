"""What passes between the stages: frozen records with named fields and content-derived ids.

An id names what the thing *is*. Left out on purpose: a prompt's tags, source and reference, a response's policy
(renamed models change nothing), anything about the run. What a stored result depends on (its key) is decided where the
request is made, in `rlaif/feedback/keys.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rlaif.identity import digest

Role = Literal["system", "user", "assistant"]
Outcome = Literal["ok", "tie", "abstained", "unparsed", "truncated", "refused", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "tie", "abstained", "unparsed", "truncated", "refused", "failed")

TIE_WIDTH = 0.05  # a probability this near to 0.5 names no answer


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str

    def as_dict(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A conversation that ends with the user's turn. `tags` choose principles; `source` says where it came from.

    `reference` is what checks compare answers with. No model sees it, so it is no part of the id.
    """

    messages: tuple[Message, ...]
    tags: frozenset[str] = frozenset()
    source: str = ""
    name: str = ""
    reference: str | None = None
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", digest({"prompt": [m.as_dict() for m in self.messages]}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A policy's answer to a prompt. `id` is that of the text under its prompt: equal texts are one response."""

    prompt_id: str
    text: str
    policy: str
    sample_index: int
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", digest({"response": self.text, "prompt": self.prompt_id}))


def pair_id(prompt_id: str, response_ids: tuple[str, str]) -> str:
    """The order-free name of two answers to one prompt."""
    return digest({"pair": sorted(response_ids), "prompt": prompt_id})


@dataclass(frozen=True, slots=True)
class ResponsePair:
    """Two answers to one prompt, `x` the one whose id sorts first."""

    prompt: Prompt
    x: Response
    y: Response
    id: str = field(init=False)

    def __post_init__(self) -> None:
        if self.x.id >= self.y.id:
            raise ValueError("a pair holds two different responses, the lower id first")
        object.__setattr__(self, "id", pair_id(self.prompt.id, (self.x.id, self.y.id)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """One request to the judge and how it ended: one pair, one order, one principle.

    `probability_a` is P(the answer shown first is better) renormalised over the two choices; None unless `outcome` is
    "ok" or "tie". `uncovered` is the probability mass outside all spellings of the choices; `choice_method` says how
    the choices were scored (`rlaif/engines/choices.py`).
    """

    key: str
    pair_id: str
    first_id: str
    second_id: str
    principle_id: str
    outcome: Outcome
    reason: str = ""
    logprob_a: float | None = None
    logprob_b: float | None = None
    probability_a: float | None = None
    uncovered: float | None = None
    choice_method: str | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One answer scored by itself under one principle. `probabilities` are those of the scores 1, 2, … renormalised
    over the scale, empty unless `outcome` is "ok"; `mean` is their expectation."""

    key: str
    response_id: str
    principle_id: str
    outcome: Outcome
    reason: str = ""
    probabilities: tuple[float, ...] = ()
    mean: float | None = None
    uncovered: float | None = None
    choice_method: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Critique:
    """The judge's reasons in words, for one pair in one order under one principle. Never part of a label."""

    key: str
    pair_id: str
    first_id: str
    second_id: str
    principle_id: str
    outcome: Outcome
    text: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipleVerdict:
    """Both orders of one principle on one pair, put together, for one of the two responses.

    `shown_first` is P(it is better) when it was shown first, `shown_second` when it was shown second, `probability`
    their mean. Which response it is for, the holder says.
    """

    principle_id: str
    outcome: Outcome
    probability: float | None
    shown_first: float | None
    shown_second: float | None
    weight: float
    reason: str = ""

    @property
    def is_order_decided(self) -> bool:
        """True when the two orders name different answers: the position, not the principle, made the verdict.

        An order that gives between 0.45 and 0.55 names neither, so noise around a tie does not count as an effect.
        """
        if self.shown_first is None or self.shown_second is None:
            return False
        leans = (self.shown_first - 0.5, self.shown_second - 0.5)
        return leans[0] * leans[1] < 0 and min(abs(lean) for lean in leans) > TIE_WIDTH

    @property
    def is_near_tie(self) -> bool:
        """True when both orders together give between 0.45 and 0.55: by this principle the answers are alike."""
        return self.probability is not None and abs(self.probability - 0.5) <= TIE_WIDTH


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """A pair with the label of the whole constitution. `probability` is P(x is better), None without any verdict.

    `shares` are the principles' parts of the label's log-odds, by principle id; they add up to it.
    """

    pair: ResponsePair
    verdicts: tuple[PrincipleVerdict, ...]
    probability: float | None
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A preference pair as it enters the dataset. `probability` is P(chosen is better), in [0.5, 1].

    `verdicts` are turned to the chosen response; `shares` are the principles' parts of the label's log-odds.
    """

    id: str
    prompt: Prompt
    chosen: Response
    rejected: Response
    probability: float
    margin: float
    is_tie: bool
    verdicts: tuple[PrincipleVerdict, ...]
    shares: Mapping[str, float]
    judge: str
    critique: Critique | None = None
