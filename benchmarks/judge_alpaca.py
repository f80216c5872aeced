"""alpaca_eval's annotators over a vLLM engine that is loaded already. See `benchmarks/judge_ways.py`."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from alpaca_eval import constants, utils
from alpaca_eval.annotators import PairwiseAnnotator
from alpaca_eval.decoders import vllm_local

from benchmarks.judge_ways import Asked, Rows

WEIGHTED, TEXT = "weighted_alpaca_eval_gpt4_turbo", "alpaca_eval_vllm_llama3_70b_fn"
CRITERION = "Evaluate the models based on the quality and relevance of their outputs"

Ask = Callable[[Rows], Asked]


def per_principle(llm: Any, principles: Sequence[tuple[str, str]]) -> tuple[str, Ask]:
    """An annotator per principle, which stands where the template has its criterion, over both orders of every pair."""
    ask = annotators(principles, decoder=logprobs_of(llm))
    return "weighted: an annotator per principle, both orders, 1 token and its 5 likeliest; engine in process", ask


def per_principle_served(name: str, principles: Sequence[tuple[str, str]]) -> tuple[str, Ask]:
    """The same through its own client, as its README has it for a model that vLLM serves."""
    ask = annotators(principles, completions_kwargs={"model_name": name, "requires_chatml": True, "price_per_token": 0})
    return "as with *, through its client (5 requests at a time) from vLLM's server", ask


def annotators(
    principles: Sequence[tuple[str, str]],
    *,
    decoder: Callable[..., dict[str, Any]] | None = None,
    completions_kwargs: dict[str, Any] | None = None,
) -> Ask:
    folder = Path(tempfile.mkdtemp(prefix="annotators-"))
    shipped = config(WEIGHTED)
    template = (constants.EVALUATORS_CONFIG_DIR / shipped["prompt_template"]).read_text(encoding="utf-8")
    assert CRITERION in template
    asked = shipped["completions_kwargs"] | (completions_kwargs or {})
    names = []
    for number, (text, _) in enumerate(principles):
        names.append(f"principle-{number}")
        own = template.replace(CRITERION, f"Evaluate the models by this principle: {' '.join(text.split())}")
        write_config(folder / names[-1], WEIGHTED, own, is_randomize_output_order=False, completions_kwargs=asked)

    def ask(rows: Rows) -> Asked:
        both = [*rows, *({**row, "a": row["b"], "b": row["a"]} for row in rows)]
        done = [annotate(folder / name, both, decoder=decoder) for name in names]
        return Asked(sum(one.verdicts for one in done), sum(one.read for one in done))

    return ask


def default_weighted(llm: Any) -> tuple[str, Ask]:
    folder = Path(tempfile.mkdtemp(prefix="annotators-")) / "weighted"
    template = (constants.EVALUATORS_CONFIG_DIR / config(WEIGHTED)["prompt_template"]).read_text(encoding="utf-8")
    write_config(folder, WEIGHTED, template)
    what = "weighted, as it comes: overall, one order drawn, 1 token and its 5 likeliest; engine in process"
    return what, lambda rows: annotate(folder, rows, decoder=logprobs_of(llm))


def default_text(llm: Any) -> tuple[str, Ask]:
    """The shipped configuration for vLLM in process, through alpaca_eval's own decoder."""
    folder = Path(tempfile.mkdtemp(prefix="annotators-")) / "text"
    template = (constants.EVALUATORS_CONFIG_DIR / config(TEXT)["prompt_template"]).read_text(encoding="utf-8")
    write_config(folder, TEXT, template)
    vllm_local.llm, vllm_local.tokenizer = llm, llm.get_tokenizer()
    vllm_local.llmModelName = config(TEXT)["completions_kwargs"]["model_name"]
    return "text, its vLLM configuration: overall, one order drawn, 100 tokens", lambda rows: annotate(folder, rows)


def annotate(folder: Path, rows: Rows, decoder: Callable[..., dict[str, Any]] | None = None) -> Asked:
    """A fresh annotator with its file of annotations, as one run of it has."""
    logging.disable(logging.WARNING)  # a line for every answer it cannot read
    cache = folder / "annotations.json"
    cache.unlink(missing_ok=True)
    annotator = PairwiseAnnotator(annotators_config=folder, base_dir=folder.parent, caching_path=cache)
    for one in annotator.annotators.values():
        one.fn_completions = decoder or one.fn_completions
    pairs = [{"instruction": row["conversation"], "output_1": row["a"], "output_2": row["b"]} for row in rows]
    done = annotator.annotate_pairs(pairs)
    return Asked(
        len(done), sum(one["preference"] is not None and one["preference"] == one["preference"] for one in done)
    )


def logprobs_of(llm: Any) -> Callable[..., dict[str, Any]]:
    """What `openai_completions` gives for a chat with log-probabilities, from the engine in this process."""
    from vllm import SamplingParams

    def completions(prompts: Sequence[str], **_: Any) -> dict[str, Any]:
        params = SamplingParams(max_tokens=1, temperature=1.0, logprobs=5)
        outputs = llm.chat([utils.prompt_to_chatml(prompt.strip()) for prompt in prompts], params, use_tqdm=False)
        said = [output.outputs[0] for output in outputs]
        listed = [[{"token": t.decoded_token, "logprob": t.logprob} for t in one.logprobs[0].values()] for one in said]
        return {
            "completions": [one.text for one in said],
            "price_per_example": [0.0] * len(said),
            "time_per_example": [0.0] * len(said),
            "completions_all": [{"text": "", "logprobs": {"content": [{"top_logprobs": top}]}} for top in listed],
        }

    return completions


def config(name: str) -> dict[str, Any]:
    text = (constants.EVALUATORS_CONFIG_DIR / name / "configs.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)[name]


def write_config(folder: Path, shipped: str, template: str, **more: Any) -> None:
    """A copy of a shipped annotator with another template and other settings."""
    folder.mkdir(parents=True)
    (folder / "template.txt").write_text(template, encoding="utf-8")
    own = {**config(shipped), "prompt_template": f"{folder.name}/template.txt", **more}
    (folder / "configs.yaml").write_text(yaml.safe_dump({folder.name: own}), encoding="utf-8")
