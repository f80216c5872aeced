"""Stands in for vLLM's child: speaks its protocol, answers anything with a word, and dies as the model's name says."""

import os
import signal
import sys
import time
from pathlib import Path

from rlaif.engines.base import Completion
from rlaif.engines.wire import answer_to_dict, read_message, write_message

WINDOW = 8
ANSWERED_BEFORE_DEATH = 5


def main() -> None:
    requests, replies = os.fdopen(int(sys.argv[1]), "rb"), os.fdopen(int(sys.argv[2]), "wb")
    start = read_message(requests)
    assert start is not None
    how = Path(start["arguments"]["model"]).name
    print(f"loading for {how}", file=sys.stderr, flush=True)
    if how == "memory":
        print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", file=sys.stderr, flush=True)
        sys.exit(1)
    if how == "fatal":
        write_message(replies, {"type": "fatal", "error": "ValueError: no such architecture"})
        sys.exit(1)
    write_message(replies, {"type": "ready", "max_model_len": 100, "window": WINDOW})
    serve(how, requests, replies)


def serve(how: str, requests, replies) -> None:
    num_answered = 0
    while (message := read_message(requests)) is not None:
        if message["type"] == "close":
            time.sleep(60 if how == "deaf" else 0)
            return
        if message["type"] == "counters":
            counters = {
                "vllm:prompt_tokens": 9,
                "vllm:prompt_tokens_by_source:local_compute": 4,
            }
            write_message(replies, {"type": "counters", "counters": counters})
        if message["type"] == "request":
            num_answered += 1
            answer = Completion(
                request_id=message["request"]["id"], text="yes", finish_reason="stop", prompt_tokens=1, output_tokens=1
            )
            write_message(replies, {"type": "answers", "turn": message["turn"], "answers": [answer_to_dict(answer)]})
        if how == "killed" and num_answered == ANSWERED_BEFORE_DEATH:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
