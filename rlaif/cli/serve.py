"""`rlaif serve`: vLLM's server for a model, to be used with engine kind `http`, from this machine or another."""

import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

app = typer.Typer()


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": False},
    epilog="Examples:  rlaif serve tiny-judge  ·  rlaif serve Qwen/Qwen2.5-14B-Instruct -- --max-num-seqs 512",
)
def serve(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A folder, a hub name, tiny-policy or tiny-judge.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    dtype: Annotated[
        Literal["auto", "bfloat16", "float16", "float32"], typer.Option(help="Precision of the weights.")
    ] = "auto",
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Longest prompt + answer in tokens.")] = None,
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs one copy of the model is spread over.")] = 1,
    gpu_memory_utilization: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of the GPU's memory vLLM may take.")
    ] = 0.9,
    kv_cache_gib: Annotated[float, typer.Option(min=0.01, help="Size of the KV cache on a CPU, in GiB.")] = 1.0,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Run Python code shipped with the model.")] = False,
    log: Annotated[Path | None, typer.Option(help="Where vLLM's output goes; default: a new temporary file.")] = None,
    verbose: Annotated[bool, typer.Option(help="vLLM's output on this terminal instead of in a file.")] = False,
) -> None:
    """Start vLLM's OpenAI-compatible server with the flags this project relies on; Ctrl-C stops it.

    Everything after `--` is handed to vLLM as it is.
    """
    from rlaif.engines.vllm_server import VllmServer
    from rlaif.settings import EngineSettings

    settings = EngineSettings(
        dtype=dtype,
        max_model_len=max_model_len,
        tensor_parallel=tensor_parallel,
        gpu_memory_utilization=gpu_memory_utilization,
        kv_cache_gib=kv_cache_gib,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )
    log_file = None if verbose else log or Path(tempfile.mkdtemp(prefix="rlaif-serve-")) / "log.txt"
    server = VllmServer(settings, model, host=host, port=port, log_file=log_file, extra=context.args)
    try:
        signal.signal(signal.SIGTERM, _interrupt)  # a service manager's stop ends like Ctrl-C
        typer.echo(f"loading {model} (log: {log_file or 'here'}) …", err=True)
        server.wait_ready()
        typer.echo(
            f"ready: {server.name} at {server.base_url}; Ctrl-C stops it. In rlaif.yaml:\n\n"
            f"  model: {server.name}\n  engine:\n    kind: http\n    base_urls: [{server.base_url}]\n"
        )
        with suppress(KeyboardInterrupt):  # the usual way to end it: nothing is left to continue
            raise typer.Exit(server.wait())
    finally:
        typer.echo("stopping …", err=True)
        server.stop()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
