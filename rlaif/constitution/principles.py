"""A constitution in memory: frozen records whose field descriptions are the documentation of the YAML keys."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from rlaif.checks import Check

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
PrincipleId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
# `version: 2` is what people write. `1.10` is refused unless quoted, because as a number it would become 1.1.
Version = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Example(_Part):
    """A comparison already made, shown to the judge before it makes its own."""

    conversation: Text = Field(description="What the user said.")
    response_a: Text = Field(description="One answer.")
    response_b: Text = Field(description="Another answer.")
    better: Literal["A", "B"] = Field(description="The better answer under this principle: A or B.")
    why: Text | None = Field(None, description="The reason, in a sentence.")


class PrincipleTest(_Part):
    """A comparison whose better answer is known: the judge has to find it under this principle."""

    conversation: Text = Field(description="What the user said.")
    response_a: Text = Field(description="One answer.")
    response_b: Text = Field(description="Another answer.")
    better: Literal["A", "B"] = Field(description="The answer the judge should prefer under this principle: A or B.")

    @model_validator(mode="after")
    def _answers_differ(self) -> "PrincipleTest":
        if self.response_a == self.response_b:
            raise ValueError("a test's two answers are the same, so neither is better")
        return self


class Principle(_Part):
    """One thing a good answer does, judged alone: by a judge who is asked the question, or by a check."""

    id: PrincipleId = Field(
        description="A short name for reports: small letters, digits, - and _. Renaming costs nothing."
    )
    text: Text = Field(description="What a good answer does.")
    question: Text | None = Field(
        description="A question for the judge to answer, which asks for a choice of two answers."
    )
    check: Check | None = Field(None, description="Computes the verdict from each answer alone, instead of a judge.")
    anchors: dict[Annotated[int, Field(ge=1, le=10)], Text] | None = Field(
        None,
        min_length=2,
        description="What scores mean, for a judge that scores each answer alone, e.g. {1: …, 5: …, 10: …}.",
    )
    critique_request: Text | None = Field(None, description="What a critic is asked about one answer.")
    revision_request: Text | None = Field(None, description="What a writer is asked to change after that critique.")
    weight: float = Field(1.0, ge=0.0, strict=True, description="Its share in the label, beside the others' weights.")
    tags: frozenset[Tag] = Field(
        frozenset(), description="Judge only prompts with one of these tags. Empty: all prompts."
    )
    examples: tuple[Example, ...] = Field((), description="Comparisons shown to the judge first.")
    tests: tuple[PrincipleTest, ...] = Field(
        (), description="Comparisons for `rlaif constitution test`; no part of what is judged."
    )
    enabled: bool = Field(True, strict=True, description="false takes the principle out without deleting it.")

    @model_validator(mode="before")
    @classmethod
    def _a_check_needs_no_question(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("check") is not None:
            return {"question": None, **value}
        return value

    @model_validator(mode="after")
    def _is_decided_in_one_way(self) -> "Principle":
        if self.question is None and self.check is None:
            raise ValueError("it has neither a `question` for the judge nor a `check`")
        if self.check is not None:
            unused = [name for name in ("question", "examples", "tests") if getattr(self, name)]
            if unused:
                named = " and ".join(f"`{name}`" for name in unused)
                raise ValueError(f"it has a `check`, so no judge reads its {named}: remove one or the other")
        return self

    def applies_to(self, tags: Iterable[str]) -> bool:
        """Whether a prompt with these tags is judged under this principle."""
        return not self.tags or not self.tags.isdisjoint(tags)

    def judging_content(self) -> dict[str, Any]:
        """All of it that a judge sees, and so all that a stored judgment depends on; of a check, what it computes.

        Left out because no judge reads them: id, weight, tags and enabled (they decide whether and how a judgment is
        used), the tests (they are judged, not read), and the critique and revision requests (they belong to the critic
        and the writer).
        """
        if self.check is not None:
            return {"text": self.text, "check": self.check.model_dump(mode="json", exclude_defaults=True)}
        return {
            "text": self.text,
            "question": self.question,
            "examples": [example.model_dump(exclude_none=True) for example in self.examples],
        }

    def scoring_content(self) -> dict[str, Any]:
        """The same for a judge that scores each answer alone: it reads no question and no examples, which are about two
        answers, but the anchors."""
        if self.check is not None:
            return self.judging_content()
        return {
            "text": self.text,
            "anchors": {str(score): said for score, said in sorted((self.anchors or {}).items())},
        }


class Prediction(_Part):
    """What the edits that made this version were predicted to do, by `rlaif compare suggest`. No model reads it."""

    before: Text = Field(description="Name and version of the constitution that was edited.")
    agreement_before: float = Field(ge=0.0, le=1.0, description="The agreement of its labels with people.")
    change: float = Field(description="The change of that agreement to expect.")
    low: float = Field(description="Lower end of its 95 % interval.")
    high: float = Field(description="Upper end of its 95 % interval.")
    pairs: int = Field(ge=1, description="On so many pairs.")
    people: Text = Field(description="Whose votes these were: human or simulated.")


class Constitution(_Part):
    """The principles of one document, with those of the document it extends already merged in."""

    name: Text = Field(description="What reports call this constitution.")
    version: Version = Field("", description="Your own mark of what changed; text, so quote 1.10.")
    description: str = Field("", description="What it is for.")
    extends: Text | None = Field(
        None, description="Start from another document's principles: a .yaml path from here, or a shipped one's name."
    )
    prediction: Prediction | None = Field(
        None, description="What its edits were predicted to do; written by `rlaif compare suggest --apply`."
    )
    principles: tuple[Principle, ...] = Field(min_length=1, description="What a good answer does, one thing each.")

    @property
    def enabled(self) -> tuple[Principle, ...]:
        """The principles that have a say, in the order they are written."""
        return tuple(principle for principle in self.principles if principle.enabled)

    def for_tags(self, tags: Iterable[str]) -> tuple[Principle, ...]:
        """The enabled principles that apply to a prompt with these tags; possibly none."""
        known = frozenset(tags)
        return tuple(principle for principle in self.enabled if principle.applies_to(known))

    def judged_for_tags(self, tags: Iterable[str]) -> tuple[Principle, ...]:
        """Those of them a judge is asked about."""
        return tuple(principle for principle in self.for_tags(tags) if principle.check is None)

    def checked_for_tags(self, tags: Iterable[str]) -> tuple[Principle, ...]:
        """Those of them that are computed."""
        return tuple(principle for principle in self.for_tags(tags) if principle.check is not None)


def json_schema() -> dict[str, Any]:
    """JSON Schema of the YAML documents, for editors.

    A document with `extends` may hold a principle's changed keys only, so there only the id is required.
    """
    schema = Constitution.model_json_schema()
    entry = schema["$defs"]["Principle"]
    complete = [key for key in entry["required"] if key != "question"]
    entry["required"] = ["id"]
    schema["required"] = ["name"]
    schema["if"] = {"not": {"required": ["extends"]}}
    schema["then"] = {
        "required": ["principles"],
        "properties": {
            "principles": {
                "items": {"required": complete, "anyOf": [{"required": ["question"]}, {"required": ["check"]}]}
            }
        },
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "rlaif constitution"} | schema
