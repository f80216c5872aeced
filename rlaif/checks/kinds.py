"""What a `check:` in a constitution may say: one frozen record per kind, whose descriptions document the YAML keys.

Everything that can be wrong with one is found here, on loading: a pattern that does not compile, bounds that exclude
every answer, a schema that is none, a checker nobody installed.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from rlaif.checks.installed import installed_names
from rlaif.errors import nearest

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Count = Annotated[int, Field(ge=0, strict=True)]
Tolerance = Annotated[float, Field(ge=0.0, strict=True)]


def _compiles(pattern: str) -> str:
    import regex

    try:
        regex.compile(pattern)
    except regex.error as failure:
        raise ValueError(f"{pattern!r} is not a regular expression: {failure}") from failure
    return pattern


Pattern = Annotated[str, StringConstraints(min_length=1), AfterValidator(_compiles)]


class _Check(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Against(_Check):
    reference: Text | None = Field(None, description="What is right. Default: the reference of the prompt.")
    extract: Pattern | None = Field(
        None,
        description="A regular expression that finds the result in the answer: its last match, or that match's first "
        "group. Default: the whole answer.",
    )


class ExactCheck(_Against):
    """1 when the answer is the reference, white space at the ends and its kind aside; else 0."""

    kind: Literal["exact"] = Field(description="The answer is the reference.")
    ignore_case: bool = Field(False, strict=True, description="Capital and small letters are alike.")


class NumberCheck(_Against):
    """1 when the answer's last number is the reference's last number, within a tolerance; else 0."""

    kind: Literal["number"] = Field(description="The answer's last number is the reference's.")
    tolerance: Tolerance = Field(0.0, description="Largest difference that counts as equal.")
    relative_tolerance: Tolerance = Field(0.0, description="The same, as a share of the reference.")


class RegexCheck(_Check):
    """1 when the pattern is found in the answer (or, turned round, is not); else 0."""

    kind: Literal["regex"] = Field(description="A pattern is found in the answer, or is not.")
    pattern: Pattern = Field(description="A Python regular expression, searched for anywhere; ^ and $ tie it down.")
    found: bool = Field(True, strict=True, description="false: a good answer does not contain it.")
    ignore_case: bool = Field(False, strict=True, description="Capital and small letters are alike.")


class LengthCheck(_Check):
    """1 when the answer is within all bounds; else 0. Words are what white space separates."""

    kind: Literal["length"] = Field(description="The answer's length is within bounds.")
    min_words: Count | None = Field(None, description="Fewest words.")
    max_words: Count | None = Field(None, description="Most words.")
    min_characters: Count | None = Field(None, description="Fewest characters.")
    max_characters: Count | None = Field(None, description="Most characters.")

    @model_validator(mode="after")
    def _some_length_is_right(self) -> "LengthCheck":
        bounds = ((self.min_words, self.max_words), (self.min_characters, self.max_characters))
        if all(bound is None for pair in bounds for bound in pair):
            raise ValueError("a length check needs a bound, e.g. max_words: 100")
        if any(low is not None and high is not None and low > high for low, high in bounds):
            raise ValueError("the smallest length is above the largest, so no answer could pass")
        return self


class JsonCheck(_Check):
    """1 when the answer is one JSON value (and matches the schema); else 0."""

    kind: Literal["json"] = Field(description="The answer is valid JSON.")
    json_schema: dict[str, Any] | None = Field(
        None, description="A JSON Schema (draft 2020-12) it has to match; $ref within the schema only."
    )
    allow_fence: bool = Field(False, strict=True, description="JSON inside one ``` code fence counts too.")

    @model_validator(mode="after")
    def _schema_is_one(self) -> "JsonCheck":
        if self.json_schema is not None:
            import jsonschema

            try:
                jsonschema.Draft202012Validator.check_schema(self.json_schema)
            except jsonschema.SchemaError as failure:
                raise ValueError(f"json_schema is not a JSON Schema: {failure.message}") from failure
            for reference in _references(self.json_schema):
                if not reference.startswith("#"):  # nothing is fetched while answers are checked
                    raise ValueError(f"json_schema refers to {reference!r}; only references within it (#/...) are read")
        return self


class PythonCheck(_Check):
    """What a checker of an installed package says: a number in [0, 1], or nothing.

    Only names that a package registered as entry points of the group `rlaif.checkers` can be called. A constitution
    is data: reading one from a stranger must not choose which code runs.
    """

    kind: Literal["python"] = Field(description="A checker that an installed package brings.")
    name: Text = Field(description="Its entry point in the group `rlaif.checkers`.")
    options: dict[str, Any] = Field(default_factory=dict, description="Handed to the checker as they are.")

    @model_validator(mode="after")
    def _is_installed(self) -> "PythonCheck":
        known = installed_names()
        if self.name not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(
                f"no installed package brings a checker {self.name!r}{nearest(self.name, known)}. Installed: {listed}. "
                "A package registers one under [project.entry-points.'rlaif.checkers']"
            )
        return self


Check = Annotated[
    ExactCheck | NumberCheck | RegexCheck | LengthCheck | JsonCheck | PythonCheck, Field(discriminator="kind")
]


def describe(check: Check) -> str:
    """A check in a few words: its kind and what was set, e.g. `number (tolerance 0.01)`."""
    options = check.model_dump(mode="json", exclude={"kind"}, exclude_defaults=True)
    shown = ", ".join(f"{name} {value}" for name, value in options.items())
    return f"{check.kind} ({shown})" if shown else check.kind


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)
