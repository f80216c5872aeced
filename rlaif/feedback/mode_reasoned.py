"""Mode `reasoned`: the judge writes its reasons first, then the probability of its verdict is read where it states it.

Two passes. In the first the judge writes: what each answer does by the principle, and its verdict. In the second the
same turn is begun again with those very words up to the verdict (`Request.prefill`), and the probability of each choice
is read right there: the verdict is not asked for again, and not taken from the text, where it would be 0 or 1. Where
the reasons state no verdict by the strict grammar of `verdict_text`, a set lead-in follows them in place of one.

What a reasoning model thinks before is split off by the engine, stored beside, and never part of what is read or
begun. Reasons that were cut, refused or failed give no verdict: the judgment ends as they did, with their reason.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlaif.constitution import Constitution
from rlaif.engines.base import Completion, Failure, ModelIdentity, Request, Sampling
from rlaif.engines.thinking import cut_reason
from rlaif.feedback.aggregate import compared
from rlaif.feedback.ask import Asking, Requests, Value
from rlaif.feedback.judge import (
    Comparison,
    comparison_messages,
    count_judgments,
    read_verdict,
    verdict_judgment,
    verdict_value,
)
from rlaif.feedback.keys import REASONED_VERSION, REASONING_VERSION, ComparisonKeys
from rlaif.feedback.mode import Heard, Pass, Unit, Values
from rlaif.feedback.mode_verdict import about_comparison
from rlaif.feedback.plan_record import StageName
from rlaif.feedback.principles_drawn import principles_asked
from rlaif.feedback.verdict_text import Verdict, prefill
from rlaif.feedback.verdict_text import read_verdict as read_stated
from rlaif.identity import digest, seed_from
from rlaif.records import Judgment, PrincipleVerdict, ResponsePair
from rlaif.settings import JudgeSettings, LabelSettings
from rlaif.templates import Template

LEAD_IN = "Verdict:"  # behind reasons that state none


@dataclass(frozen=True, slots=True)
class ReasonedMode:
    constitution: Constitution
    settings: JudgeSettings
    template: Template
    identity: ModelIdentity

    @property
    def stages(self) -> tuple[StageName, ...]:
        return ("reason", "judge")

    def plan_pass(self, pairs: Sequence[ResponsePair], earlier: Sequence[Values]) -> Pass:
        return self._verdict_pass(pairs, earlier[0]) if earlier else self._reason_pass(pairs)

    def planned(self, pairs: Sequence[ResponsePair]) -> int:
        return self.settings.reasonings * count_judgments(pairs, self.constitution, self.settings)

    def planned_about(self, units: Sequence[Unit]) -> int:
        return 2 * self.settings.reasonings * len(units)

    def hear(self, passes: Sequence[Pass], values: Sequence[Values]) -> Heard:
        """A judgment per reasoning: its verdict, or why there is none."""
        reasonings, verdicts = values
        judgments: dict[str, list[Judgment]] = defaultdict(list)
        for key, place in passes[0].places.items():
            if key not in reasonings:
                continue
            begun = self._begun(place, reasonings[key])
            if begun is None:
                silent = {"outcome": reasonings[key]["outcome"], "reason": f"reasons: {reasonings[key]['reason']}"}
                judgments[place[0].id].append(verdict_judgment(key, place, silent, self.settings.min_covered))
            elif (own := verdict_key(key, begun)) in verdicts:
                found = verdict_judgment(own, place, verdicts[own], self.settings.min_covered)
                judgments[place[0].id].append(found)
        return Heard(judgments=dict(judgments))

    def verdicts(self, pair: ResponsePair, heard: Heard, settings: LabelSettings) -> list[PrincipleVerdict]:
        """One chain of reasons makes a judge sure beyond its right, so its probabilities are kept in a range
        (arXiv:2212.08073, section 4.1); a mean of several is calibrated by itself."""
        within = settings.reasoned_range if self.settings.reasonings == 1 else None
        return compared(pair, heard.judgments.get(pair.id, ()), self.constitution, within=within)

    def stand_in(self, key: str) -> Value:
        words = " the" * (self.settings.reasoning_max_tokens // 2)
        verdict = self.template.choices[0]
        return {"outcome": "ok", "text": f"{key[:4]}{words}.\n\n{LEAD_IN} {verdict}", "reason": ""}

    # --- reasons

    def _reason_pass(self, pairs: Sequence[ResponsePair]) -> Pass:
        places, template, settings = self._places(pairs), self.template, self.settings
        asking = Asking(
            name=f"reason with {settings.model}",
            kind="reasonings",
            requests=Requests(
                places,
                lambda key, place: Request(
                    id=key,
                    messages=comparison_messages(template, *place),
                    sampling=Sampling(
                        max_tokens=settings.reasoning_max_tokens,
                        temperature=settings.reasoning_temperature,
                        seed=seed_from(key),
                    ),
                ),
            ),
            read=_reasons,
            outcome=lambda value: value["outcome"],
        )
        return Pass("reason", asking, template, lambda key: about_comparison(places[key]), places)

    def _places(self, pairs: Sequence[ResponsePair]) -> dict[str, Comparison]:
        """Every comparison as often as reasons are wanted of it."""
        drawn = {"max_tokens": self.settings.reasoning_max_tokens, "temperature": self.settings.reasoning_temperature}
        places: dict[str, Comparison] = {}
        for index in range(self.settings.reasonings):
            what = {"reasons": REASONING_VERSION, "index": index, **drawn}
            keys = ComparisonKeys(what, self.template, self.identity)
            key_of = {one.id: keys.under(one.judging_content()) for one in self.constitution.enabled}
            for pair in pairs:
                for principle in principles_asked(pair, self.constitution, self.settings):
                    for first, second in ((pair.x, pair.y), (pair.y, pair.x)):
                        key = key_of[principle.id](first, second, pair.prompt.messages)
                        places[key] = (pair, principle, first, second)
        return places

    # --- verdicts

    def _verdict_pass(self, pairs: Sequence[ResponsePair], reasonings: Values) -> Pass:
        places: dict[str, tuple[Comparison, str]] = {}
        rests_on: dict[str, str] = {}
        for key, place, begun in self._stated(self._places(pairs), reasonings):
            own = verdict_key(key, begun)
            places[own], rests_on[own] = (place, begun), key
        template = self.template
        asking = Asking(
            name=f"judge with {self.settings.model}",
            kind="judgments",
            requests=Requests(
                places,
                lambda key, place: Request(
                    id=key,
                    messages=comparison_messages(template, *place[0]),
                    sampling=Sampling(max_tokens=1),
                    choices=template.choices,
                    prefill=place[1],
                ),
            ),
            read=verdict_value,
            outcome=lambda value: read_verdict(value, self.settings.min_covered)[0],
        )
        return Pass("judge", asking, template, lambda key: about_comparison(places[key][0]), places, rests_on)

    def _stated(self, places: Mapping[str, Comparison], reasonings: Values) -> Iterator[tuple[str, Comparison, str]]:
        for key, place in places.items():
            begun = self._begun(place, reasonings[key]) if key in reasonings else None
            if begun is not None:
                yield key, place, begun

    def _begun(self, place: Comparison, value: Value) -> str | None:
        """How the judge's turn begins up to its verdict; None where there are no reasons."""
        if value["outcome"] != "ok":
            return None
        _, _, first, second = place
        found = read_stated(value["text"], self.template.choices, shown=(first.text, second.text))
        if isinstance(found, Verdict):
            return prefill(value["text"], found)
        return f"{value['text'].strip()}\n\n{LEAD_IN}"


def verdict_key(reasoning: str, begun: str) -> str:
    """The key of the verdict behind a reasoning, which holds all but the words themselves: what was shown to whom."""
    return digest({"verdict behind": reasoning, "begun": begun, "version": REASONED_VERSION})


def _reasons(answer: Completion | Failure) -> Value:
    if isinstance(answer, Failure):
        outcome = "failed" if answer.kind == "failed" else "refused"
        return {"outcome": outcome, "text": "", "reason": answer.reason}
    cut = cut_reason(answer)
    is_empty = not answer.text.strip()
    return {
        "outcome": "truncated" if cut else "abstained" if is_empty else "ok",
        "text": answer.text.strip(),
        **({"thinking": answer.thinking} if answer.thinking else {}),
        "reason": cut or ("nothing written" if is_empty else ""),
        "prompt_tokens": answer.prompt_tokens,
        "output_tokens": answer.output_tokens,
    }
