"""distilabel's preference tasks over a vLLM engine that is loaded already. See `benchmarks/judge_ways.py`."""

from collections.abc import Callable, Sequence
from typing import Any

from distilabel.models.llms.base import LLM
from distilabel.models.llms.utils import compute_tokens, prepare_output
from distilabel.steps.tasks import PrometheusEval, UltraFeedback
from pydantic import PrivateAttr, validate_call

from benchmarks.judge_ways import Asked, Rows

BATCH = 50  # Step.input_batch_size


class LoadedLLM(LLM):
    """What distilabel's vLLM class does with its defaults, on an engine that is there."""

    model: str = "loaded"
    _engine: Any = PrivateAttr(None)
    _tokenizer: Any = PrivateAttr(None)

    def load(self) -> None:
        super().load()
        self._tokenizer = self._engine.get_tokenizer()

    @property
    def model_name(self) -> str:
        return self.model

    @validate_call
    def generate(self, inputs: list[Any], num_generations: int = 1, max_new_tokens: int = 128) -> list[Any]:
        from vllm import SamplingParams

        prompts = [
            self._tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in inputs
        ]
        params = SamplingParams(n=num_generations, temperature=1.0, max_tokens=max_new_tokens)
        outputs = self._engine.generate(prompts=prompts, sampling_params=params, use_tqdm=False)
        return [
            prepare_output(
                generations=[part.text for part in output.outputs],
                input_tokens=[compute_tokens(prompt, self._tokenizer.encode)] * len(output.outputs),
                output_tokens=[len(part.token_ids) for part in output.outputs],
            )
            for prompt, output in zip(prompts, outputs, strict=True)
        ]


def per_principle(llm: Any, principles: Sequence[tuple[str, str]]) -> tuple[str, Callable[[Rows], Asked]]:
    """PrometheusEval relative, a task per principle with a rubric of its own, over both orders of every pair."""
    rubrics = {f"principle-{number}": rubric(text) for number, (text, _) in enumerate(principles)}
    tasks = [loaded(PrometheusEval(name=name, llm=model(llm), mode="relative", rubric=name, rubrics=rubrics))
             for name in rubrics]  # fmt: skip

    def ask(rows: Rows) -> Asked:
        both = [*rows, *({**row, "a": row["b"], "b": row["a"]} for row in rows)]
        return put_together(compared(task, both) for task in tasks)

    return "PrometheusEval relative, a rubric per principle, both orders, 128 tokens of text each", ask


def default_rubric(llm: Any) -> tuple[str, Callable[[Rows], Asked]]:
    task = loaded(PrometheusEval(name="prometheus", llm=model(llm), mode="relative", rubric="helpfulness"))
    return "PrometheusEval relative, one rubric, the order given, 128 tokens of text", lambda rows: compared(task, rows)


def overall(llm: Any) -> tuple[str, Callable[[Rows], Asked]]:
    """UltraFeedback's overall rating: one call per prompt rates all its answers, and so labels all its pairs."""
    task = loaded(UltraFeedback(name="ultrafeedback", llm=model(llm), aspect="overall-rating"))

    def ask(rows: Rows) -> Asked:
        answers: dict[str, dict[str, None]] = {}
        for row in rows:
            answers.setdefault(row["conversation"], {}).update({row["a"]: None, row["b"]: None})
        inputs = [{"instruction": text, "generations": list(own)} for text, own in answers.items()]
        return Asked(len(rows), sum(None not in (row["ratings"] or [None]) for row in process(task, inputs)))

    return "UltraFeedback overall-rating, one call rates all answers to a prompt, 128 tokens of text", ask


def compared(task: PrometheusEval, rows: Rows) -> Asked:
    inputs = [{"instruction": row["conversation"], "generations": [row["a"], row["b"]]} for row in rows]
    done = process(task, inputs)
    return Asked(len(done), sum(row["result"] is not None for row in done))


def process(task: Any, inputs: Rows) -> Rows:
    """All rows, in the batches in which a pipeline hands them to a step."""
    done: Rows = []
    for start in range(0, len(inputs), BATCH):
        for part in task.process(inputs[start : start + BATCH]):
            done += part
    return done


def put_together(parts: Any) -> Asked:
    asked = list(parts)
    return Asked(sum(one.verdicts for one in asked), sum(one.read for one in asked))


def model(llm: Any) -> LoadedLLM:
    own = LoadedLLM()
    own._engine = llm
    return own


def loaded(task: Any) -> Any:
    task.load()
    return task


def rubric(text: str) -> str:
    """A principle in the form the task accepts: a criterion, then what each of five scores means."""
    steps = ("goes against it", "mostly goes against it", "is neither for nor against it", "mostly follows it", "follows it")  # fmt: skip  # noqa: E501
    scores = "\n".join(f"Score {number}: The response {step}." for number, step in enumerate(steps, 1))
    return f"[{' '.join(text.split())}]\n{scores}"
