"""vLLM's CUDA build: the same answers as transformers, and prefix caching that pays. Run with `pytest -m gpu`.

Not part of `make test`: where there is no GPU these are skipped with the reason.
"""

import math
import shutil
import subprocess

import pytest

from benchmarks.judging_requests import judging_requests
from rlaif.engines import open_engine
from rlaif.engines.order import prefix_order
from rlaif.settings import EngineSettings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no NVIDIA GPU on this machine"),
]
REQUESTS = prefix_order(judging_requests(num_prompts=10, num_answers=3, num_principles=4, max_words=90))


def answers(kind, dtype, tmp_path):
    settings = EngineSettings(kind=kind, dtype=dtype, gpu_memory_utilization=0.3)
    with open_engine(settings, "tiny-judge", log_file=tmp_path / f"{kind}.txt") as engine:
        found = {answer.request_id: answer for answer in engine.complete(REQUESTS)}
        return found, engine.counters()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 2e-3)])
def test_gpu_verdicts_agree_with_transformers(dtype, tolerance, tmp_path):
    ours, _ = answers("vllm", dtype, tmp_path)
    reference, _ = answers("transformers", dtype, tmp_path)
    for request in REQUESTS:
        pairs = zip(ours[request.id].choice_logprobs, reference[request.id].choice_logprobs, strict=True)
        assert max(abs(math.exp(a) - math.exp(b)) for a, b in pairs) <= tolerance


def test_shared_prefixes_are_computed_once(tmp_path):
    _, counters = answers("vllm", "bfloat16", tmp_path)
    assert counters.computed_tokens is not None
    assert counters.computed_tokens < 0.6 * counters.prompt_tokens


def test_the_memory_is_given_back(tmp_path):
    def used():
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])

    before = used()
    answers("vllm", "bfloat16", tmp_path)
    assert used() - before < 500  # MiB
