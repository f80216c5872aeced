"""Models behind one protocol: vLLM in a child process, OpenAI-compatible servers, transformers, or a script.

`open_engine` opens one from settings; `identify` says which model would answer, without loading it.
"""

from rlaif.engines.opening import context_length, identify, open_engine

__all__ = ["context_length", "identify", "open_engine"]
