"""Where prompts and answers come from: prompt sets and their cleaning, policies, and the revision of their answers."""

from typing import Literal

from pydantic import Field, model_validator

from rlaif.settings.engine import EngineSettings
from rlaif.settings.strict import PositiveInt, Price, Share, Strict

WhatToDo = Literal["off", "report", "remove"]


class PromptSource(Strict):
    """Where prompts come from: a JSONL, Parquet or CSV file, or a Hugging Face dataset name."""

    path: str = Field(description="A file (.jsonl, .parquet, .csv) or the name of a Hugging Face dataset.")
    limit: PositiveInt | None = Field(None, description="Take the first N prompts only. Usual: all.")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Which column holds what, e.g. {prompt: question}; keys: prompt, messages, tags, id, source, "
        "reference.",
    )
    split: str = Field("train", description="Split of a Hugging Face dataset.")
    config: str | None = Field(None, description="Configuration name of a Hugging Face dataset.")


class CleaningSettings(Strict):
    """What says the same twice or stands in a benchmark, found before a judge is asked. Finding asks no model."""

    near_duplicate_prompts: WhatToDo = Field(
        "report", description="Prompts that say nearly the same as an earlier one. Usual: report; off for millions."
    )
    near_duplicate_answers: WhatToDo = Field(
        "report",
        description="Answers that say nearly the same as an earlier one to their prompt: those removed are not judged.",
    )
    likeness: float = Field(
        0.8,
        gt=0.0,
        le=1.0,
        description="Near-duplicates share at least this much of their runs of three words. Usual: 0.7 to 0.9.",
    )
    benchmarks: tuple[str, ...] = Field(
        (), description="Files whose texts no prompt may hold, e.g. [gsm8k.jsonl]: .jsonl, .parquet, .csv, .txt."
    )
    contaminated_prompts: Literal["report", "remove"] = Field(
        "report", description="Prompts that share a run of words with a benchmark's text."
    )
    run_words: PositiveInt = Field(13, description="Length of such a run in words. Usual: 8 to 13.")

    @property
    def removed_likeness(self) -> float | None:
        """From which likeness on answers are left out; None where all stay."""
        return self.likeness if self.near_duplicate_answers == "remove" else None


class SamplingSettings(Strict):
    """How a policy draws its answers."""

    temperature: float = Field(
        1.0, ge=0.0, le=5.0, description="0 is greedy. Usual: 0.7 to 1.0, for answers that differ."
    )
    top_p: float = Field(1.0, gt=0.0, le=1.0, description="Nucleus sampling. Usual: 0.9 to 1.0.")
    top_k: int = Field(0, ge=0, description="Keep the k most likely tokens; 0 keeps all.")
    max_tokens: PositiveInt = Field(512, description="Longest answer in tokens. Usual: 256 to 2048.")
    stop: tuple[str, ...] = Field((), description="Texts that end an answer, beside the model's own end of turn.")


class PolicySettings(Strict):
    """A model whose answers are judged."""

    model: str = Field(description="A folder, a hub name, or the bundled tiny-policy.")
    samples: PositiveInt = Field(4, description="Answers per prompt. Usual: 2 to 8.")
    sampling: SamplingSettings = Field(default_factory=lambda: SamplingSettings())
    engine: EngineSettings | None = Field(None, description="Instead of the run's engine, for this model.")
    price_per_million_prompt_tokens: Price | None = Field(
        None, description="What a plan counts for reading, in your currency. Usual: null, no price."
    )
    price_per_million_output_tokens: Price | None = Field(
        None, description="What a plan counts for writing, in your currency. Usual: null, no price."
    )


class RevisionSettings(Strict):
    """How `rlaif revise` improves each policy's first answer: a critique under a drawn principle, then a new answer."""

    rounds: PositiveInt = Field(1, description="Critiques and revisions of an answer, one after the other. Usual: 1-4.")
    model: str | None = Field(None, description="Who criticises and rewrites. Usual: null, the policy that answered.")
    engine: EngineSettings | None = Field(None, description="Instead of the run's engine, for that model.")
    principles: Literal["all", "with_requests"] = Field(
        "all",
        description="Which principles are drawn: all, where one without requests of its own gets plain ones made from "
        "its text; or only those that carry critique_request and revision_request.",
    )
    temperature: float = Field(0.0, ge=0.0, le=5.0, description="Of critiques and revisions; 0 is greedy. Usual: 0-1.")
    critique_template: str = Field("critique_answer", description="Template of the critique of one answer.")
    critique_max_tokens: PositiveInt = Field(256, description="Longest critique in tokens. Usual: 100 to 400.")
    revision_template: str = Field("revise", description="Template of the revision.")
    revision_max_tokens: PositiveInt = Field(512, description="Longest revision in tokens. Usual: as answers.")
    min_probability: Share = Field(
        0.0,
        description="Least P(better than the original), by the judge, of a revision to fine-tune on. Usual: 0, all of "
        "them as in Constitutional AI; 0.5, none that the judge finds worse.",
    )

    @model_validator(mode="after")
    def _an_engine_belongs_to_a_model(self) -> "RevisionSettings":
        if self.engine is not None and self.model is None:
            raise ValueError("revision.engine is for revision.model, which is not set: a policy has its own engine")
        return self
