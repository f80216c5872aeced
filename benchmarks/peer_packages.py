"""Other projects' packages for the benchmarks, in a folder of their own beside the environment's libraries."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PEERS_FOLDER = Path.home() / ".cache" / "rlaif" / "bench-peers"


def install_into(folder: Path, packages: Sequence[str]) -> str:
    """Packages without what they depend on. Returns why they are not there, or nothing."""
    has_uv = importlib.util.find_spec("uv") is not None
    pip = ["-m", "uv", "pip"] if has_uv else ["-m", "pip"]
    command = [sys.executable, *pip, "install", "--target", str(folder), "--no-deps", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"(installing: {done.stderr.strip()[-200:]})" if done.returncode else ""
