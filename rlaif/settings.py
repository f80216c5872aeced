"""The settings of a run, as `rlaif.yaml` holds them: frozen, strict, saved with the run exactly as used.

Each field says what it means, its unit and a usual range. Unknown keys are refused with the nearest known name (by
`rlaif.documents`), and a setting is never repaired behind the user's back: two that conflict stop the run before a
model is loaded. Secrets are never settings: `api_key_env` names the environment variable that holds one.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, field_validator, model_validator

EngineKind = Literal["vllm", "http", "transformers", "scripted"]
JudgeMode = Literal["verdict", "reasoned", "score"]
PositiveInt = Annotated[int, Field(ge=1)]
Price = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
WhatToDo = Literal["off", "report", "remove"]


def _json_scalar(value: Any) -> bool | int | float | str:
    """A value as JSON has it, of one piece and unchanged: it goes to a server, and into the keys of results."""
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("give true, false, a finite number or a text")
    return value


JsonScalar = Annotated[bool | int | float | str, PlainValidator(_json_scalar)]

# What a chat template is given with every request, and how transformers is told to give it.
_ENGINES_OWN = {
    *("messages", "conversation", "chat_template", "add_generation_prompt", "continue_final_message", "tools"),
    *("documents", "tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict"),
    *("return_assistant_tokens_mask", "tokenizer_kwargs"),
}


class Strict(BaseModel):
    """Base of every settings block: frozen, no unknown keys, no silent coercion of text to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


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


class SamplingSettings(Strict):
    """How a policy draws its answers."""

    temperature: float = Field(
        1.0, ge=0.0, le=5.0, description="0 is greedy. Usual: 0.7 to 1.0, for answers that differ."
    )
    top_p: float = Field(1.0, gt=0.0, le=1.0, description="Nucleus sampling. Usual: 0.9 to 1.0.")
    top_k: int = Field(0, ge=0, description="Keep the k most likely tokens; 0 keeps all.")
    max_tokens: PositiveInt = Field(512, description="Longest answer in tokens. Usual: 256 to 2048.")
    stop: tuple[str, ...] = Field((), description="Texts that end an answer, beside the model's own end of turn.")


class EngineSettings(Strict):
    """What runs a model, and how."""

    kind: EngineKind = Field("vllm", description="vllm (in a child process), http (servers), transformers, scripted.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="Weights' precision.")
    max_model_len: PositiveInt | None = Field(
        None, description="Longest prompt + answer in tokens; default: the model's own."
    )
    gpu_memory_utilization: float = Field(0.9, gt=0.0, le=1.0, description="Share of the GPU's memory vLLM may take.")
    kv_cache_gib: float = Field(1.0, gt=0.0, description="Size of the KV cache on a CPU, in GiB. Usual: 1 to 40.")
    block_size: PositiveInt | None = Field(
        None, description="KV-cache block in tokens; default 32 on a CPU, vLLM's own on a GPU."
    )
    tensor_parallel: PositiveInt = Field(1, description="GPUs one copy of the model is spread over.")
    max_num_seqs: PositiveInt | None = Field(None, description="Requests vLLM works on at once; default: vLLM's own.")
    enforce_eager: bool | None = Field(
        None, description="No compilation: starts faster, runs slower. Default: true on a CPU."
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code shipped with the model. Off unless you trust its author."
    )
    chat_template_kwargs: dict[str, JsonScalar] = Field(
        default_factory=dict,
        description="Given to the model's chat template, e.g. {enable_thinking: false}; see the model's own page.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub model.")
    base_urls: tuple[str, ...] = Field((), description="http: servers, e.g. http://127.0.0.1:8000/v1.")
    api_key_env: str | None = Field(None, description="http: name of the environment variable that holds the key.")
    concurrency: PositiveInt = Field(64, description="http: requests in flight per server. Usual: 32 to 512.")
    timeout_s: float = Field(300.0, gt=0, description="http: seconds before a request is tried elsewhere.")
    retries: int = Field(4, ge=0, description="http: further tries after a connection error, 429 or 5xx.")
    batch_size: PositiveInt = Field(32, description="transformers: sequences per forward pass.")

    @field_validator("chat_template_kwargs")
    @classmethod
    def _are_the_templates_own(cls, kwargs: dict[str, JsonScalar]) -> dict[str, JsonScalar]:
        taken = sorted(kwargs.keys() & _ENGINES_OWN)
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be set here: the engine gives it to the chat template itself")
        return kwargs

    @model_validator(mode="after")
    def _servers_belong_to_http(self) -> "EngineSettings":
        if self.kind == "http" and not self.base_urls:
            raise ValueError("engine kind 'http' needs base_urls, e.g. [http://127.0.0.1:8000/v1]")
        if self.kind != "http" and self.base_urls:
            raise ValueError(f"base_urls is for engine kind 'http', but kind is {self.kind!r}")
        return self


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


class JudgeSettings(Strict):
    """The model that compares answers, one principle at a time, always in both orders."""

    model: str = Field(description="A folder, a hub name, or the bundled tiny-judge.")
    template: str = Field("judge", description="Template of the comparison: a name in prompts/templates or a file.")
    mode: JudgeMode = Field(
        "verdict",
        description="verdict: the better of two answers, at once; reasoned: after reasons in words; score: each answer "
        "alone, on a scale.",
    )
    reason_template: str = Field("reason", description="reasoned: template of the reasons and their verdict.")
    reasonings: PositiveInt = Field(
        1, description="reasoned: so many reasonings of each comparison, averaged. Usual: 1 to 8."
    )
    reasoning_max_tokens: PositiveInt = Field(
        512, description="reasoned: longest reasons in tokens, thinking counted in. Usual: 200; thinking models 2048."
    )
    reasoning_temperature: float = Field(
        0.0, ge=0.0, le=5.0, description="reasoned: 0 is greedy. Usual: 0 for one reasoning, 0.7 for several."
    )
    score_template: str = Field("score", description="score: template of the question for a score.")
    score_levels: int = Field(10, ge=2, le=10, description="score: the scale goes from 1 to this. Usual: 5 or 10.")
    min_covered: Share = Field(
        0.2, description="Least probability on the choices; below it the judge abstained. Usual: 0.1 to 0.5."
    )
    principles_per_pair: PositiveInt | None = Field(
        None,
        description="Ask about so many principles of each pair only, drawn by the pair's id. Usual: null, all; 1 as in "
        "Constitutional AI.",
    )
    critique_template: str = Field("critique", description="Template of the critique in words.")
    critique_max_tokens: PositiveInt = Field(160, description="Longest critique in tokens. Usual: 100 to 400.")
    engine: EngineSettings | None = Field(None, description="Instead of the run's engine, for the judge.")
    price_per_million_prompt_tokens: Price | None = Field(
        None, description="What a plan counts for reading, in your currency. Usual: null, no price."
    )
    price_per_million_output_tokens: Price | None = Field(
        None, description="What a plan counts for writing, in your currency. Usual: null, no price."
    )

    @model_validator(mode="after")
    def _settings_of_a_mode_agree(self) -> "JudgeSettings":
        if self.mode == "reasoned" and self.reasonings > 1 and self.reasoning_temperature == 0:
            raise ValueError(
                f"{self.reasonings} reasonings at reasoning_temperature 0 are one and the same: set it, e.g. to 0.7"
            )
        if self.mode == "score" and self.principles_per_pair is not None:
            raise ValueError("principles_per_pair draws principles of comparisons, and mode 'score' makes none")
        return self

    @property
    def mode_template(self) -> str:
        """The template through which the judge reads in this mode."""
        return str(getattr(self, _TEMPLATE_OF[self.mode]))


_TEMPLATE_OF: dict[JudgeMode, str] = {
    "verdict": "template",
    "reasoned": "reason_template",
    "score": "score_template",
}


class OtherJudge(Strict):
    """A judge beside `judge`, asked about the same pairs under the same principles, and in all else as `judge` is."""

    model: str = Field(description="A folder, a hub name, or the bundled tiny-judge.")
    mode: JudgeMode | None = Field(None, description="Usual: null, that of `judge`.")
    template: str | None = Field(None, description="Template of its mode. Usual: null, that of `judge`.")
    min_covered: Share | None = Field(None, description="Usual: null, that of `judge`.")
    engine: EngineSettings | None = Field(None, description="Instead of the run's engine, for this judge.")
    price_per_million_prompt_tokens: Price | None = Field(
        None, description="What a plan counts for reading, in your currency. Usual: null, no price."
    )
    price_per_million_output_tokens: Price | None = Field(
        None, description="What a plan counts for writing, in your currency. Usual: null, no price."
    )

    def beside(self, judge: JudgeSettings) -> JudgeSettings:
        """All of this judge's settings, where `judge` gives what is not set here. ValueError where they conflict."""
        own = {name: value for name, value in dict(self).items() if name != "template"}
        for name in ("mode", "min_covered"):
            own[name] = getattr(judge, name) if own[name] is None else own[name]
        if self.template is not None:
            own[_TEMPLATE_OF[own["mode"]]] = self.template
        try:
            return JudgeSettings(**(dict(judge) | own))
        except ValidationError as error:
            raise ValueError(f"judge {self.model!r}: {error.errors()[0]['msg']}") from error


class JudgesSettings(Strict):
    """Several judges. How their verdicts become one is decided on what is stored, and asks nobody anything."""

    others: tuple[OtherJudge, ...] = Field(
        (),
        description="Judges beside `judge`, each with a `model` and, if wanted, mode, template, min_covered, engine "
        "and prices of its own. They are asked in this order, and `judge` is the last. Usual: [], `judge` alone.",
    )
    ask: Literal["panel", "cascade"] = Field(
        "panel",
        description="panel: every judge judges everything; cascade: each judges only what the one before it left "
        "unsure.",
    )
    threshold: float = Field(
        0.2,
        ge=0.0,
        le=0.5,
        description="cascade: unsure is |p - 0.5| up to this, and two orders that name different answers, and no "
        "verdict. Usual: 0.1 to 0.4; 0.5 asks every judge everything.",
    )
    pool: Literal["mean", "majority", "last"] = Field(
        "mean",
        description="One verdict of those that were asked: mean: of their log-odds; majority: the side that more of "
        "them are on; last: that of the last one asked.",
    )
    weights: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(
        (),
        description="mean, majority: each judge's say, in the order they are asked. Usual: [], all alike.",
    )

    @model_validator(mode="after")
    def _settings_of_judges_agree(self) -> "JudgesSettings":
        count = len(self.others) + 1
        if self.weights and len(self.weights) != count:
            raise ValueError(f"{len(self.weights)} weights for {count} judges: the others in their order, then `judge`")
        if self.pool == "last" and self.ask == "panel" and self.others:
            raise ValueError(
                "in a panel all are asked, so pool 'last' is `judge` alone: drop the others, or ask: cascade"
            )
        return self


class ScheduleSettings(Strict):
    """Which of a prompt's answers are compared with which: what comparing n answers costs."""

    kind: Literal["all", "ring", "random", "swiss"] = Field(
        "all",
        description="all: n (n - 1) / 2 pairs; ring: n; random: each answer against `opponents` others; swiss: rounds "
        "of answers of like strength, `comparisons` in all.",
    )
    opponents: PositiveInt = Field(4, description="random: opponents of each answer. Usual: 2 to 6.")
    comparisons: PositiveInt | None = Field(
        None, description="swiss: pairs per prompt. Usual: null, half of all, rounded up."
    )


class LabelSettings(Strict):
    """How verdicts become a label. Changing any of these asks no model anything."""

    kind: Literal["soft", "hard", "majority"] = Field(
        "soft",
        description="soft: the pooled probability; hard: its side, 0 or 1, a tie stays 0.5; majority: the side that "
        "more principles are on, by weight.",
    )
    reasoned_range: tuple[Share, Share] | None = Field(
        (0.4, 0.6),
        description="The range verdicts behind one reasoning are kept in; null: as they are. Usual: [0.4, 0.6].",
    )

    @field_validator("reasoned_range")
    @classmethod
    def _holds_a_half(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] <= 0.5 <= value[1]:
            raise ValueError("the range has to hold 0.5")
        return value


class PairSettings(Strict):
    """Which comparisons become pairs of the dataset. Changing any of these asks no model anything."""

    rule: Literal["best_worst", "best_random", "adjacent", "all"] = Field(
        "best_worst",
        description="Strongest against weakest answer, or against a drawn one; each against the next weaker one; or "
        "every pair of answers.",
    )
    rank_by: Literal["mean_log_odds", "bradley_terry"] = Field(
        "mean_log_odds",
        description="How strong an answer is: the mean over its comparisons, or a Bradley-Terry fit, which is fair "
        "also where answers met different opponents.",
    )
    max_pairs_per_prompt: PositiveInt | None = Field(
        None, description="At most so many pairs of one prompt, those with the largest margins. Usual: null, all."
    )
    probability_floor: float = Field(
        0.01,
        gt=0.0,
        lt=0.5,
        description="Principles' probabilities are kept in [floor, 1 - floor] in labels.",
    )
    min_margin: float = Field(0.1, ge=0.0, le=1.0, description="Least |2p - 1| of a pair that enters. Usual: 0 to 0.4.")
    keep_ties: bool = Field(False, description="Let pairs with p = 0.5 exactly, or under the margin, enter as ties.")
    critiques: Literal["dataset", "none"] = Field("dataset", description="Write a critique for every pair that enters.")


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


class Settings(Strict):
    """One run of `rlaif generate` or `rlaif revise`."""

    name: str = Field(
        "default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="The run's folder under outputs/runs."
    )
    constitution: str = Field(description="The constitution to judge by.")
    prompts: tuple[PromptSource, ...] = Field(min_length=1, description="Prompt sets, in order.")
    cleaning: CleaningSettings = Field(default_factory=lambda: CleaningSettings())
    policies: tuple[PolicySettings, ...] = Field(min_length=1, description="Who answers.")
    judge: JudgeSettings = Field(description="Who compares.")
    judges: JudgesSettings = Field(default_factory=lambda: JudgesSettings())
    schedule: ScheduleSettings = Field(default_factory=lambda: ScheduleSettings())
    engine: EngineSettings = Field(default_factory=lambda: EngineSettings(), description="What runs the models.")
    label: LabelSettings = Field(default_factory=lambda: LabelSettings())
    pairs: PairSettings = Field(default_factory=lambda: PairSettings())
    revision: RevisionSettings = Field(default_factory=lambda: RevisionSettings())
    output: str = Field("outputs", description="Folder of the store and the runs.")
    store: str | None = Field(
        None,
        description="Folder or URL of a store elsewhere, to share with other projects or machines, e.g."
        " s3://bucket/rlaif. Default: store in the output folder.",
    )
    max_no_verdict_share: Share = Field(
        0.05,
        description="End with an error when a larger share of judgments has no verdict. Usual: 0.01 to 0.1.",
    )

    @model_validator(mode="after")
    def _judges_and_schedule_agree(self) -> "Settings":
        modes = {judge.mode for judge in self.judges_in_order()}
        kind = self.schedule.kind
        if kind != "all" and "score" in modes:
            raise ValueError(f"schedule.kind {kind!r} spares comparisons, and mode 'score' makes none")
        if self.judges.ask == "cascade" and "score" in [judge.mode for judge in self.judges_in_order()[1:]]:
            raise ValueError(
                "a cascade passes pairs on, and mode 'score' judges single answers: it can only come first"
            )
        if kind != "all" and self.pairs.rule != "all" and self.pairs.rank_by == "mean_log_odds":
            raise ValueError(
                f"under schedule.kind {kind!r} answers meet different opponents, which rank_by 'mean_log_odds' holds "
                "against them: set pairs.rank_by to bradley_terry"
            )
        return self

    def judges_in_order(self) -> tuple[JudgeSettings, ...]:
        """All judges in the order they are asked, `judge` last."""
        return (*(other.beside(self.judge) for other in self.judges.others), self.judge)

    def store_place(self, base: Path) -> Path | str:
        """Where the results lie: a URL as it is written, or a folder. `base` is the folder of the settings file."""
        if self.store is not None and "://" in self.store:
            return self.store
        return base / self.output / "store" if self.store is None else base / self.store
