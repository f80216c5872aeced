"""What runs a model: vLLM, servers, transformers, or the scripted engine."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, field_validator, model_validator

from rlaif.settings.strict import PositiveInt, Strict

EngineKind = Literal["vllm", "http", "transformers", "scripted"]


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
