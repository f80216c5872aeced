"""Stands in for vLLM's child: speaks its protocol, answers as `made_up.py` says, and dies as its model is named.

well       works through what it has in batches of chance, out of order
killed     kills itself after five answers        broken     … before the first
raises     ends after five answers with an exception that it tells of
poison     kills itself on a request that says "poison"
memory, fatal, deaf   cannot load; says so; does not listen when told to end

Standard library only, so that it starts at once. With LEDGER in its environment it notes what it got and gave.
"""

import json
import os
import random
import select
import signal
import struct
import sys
import time
from pathlib import Path

from tests.faults.ledger import Ledger
from tests.faults.made_up import logprobs_of, name_of, text_of, tokens_of

WINDOW = 8
ANSWERED_BEFORE_DEATH = {"killed": 5, "broken": 0, "raises": 5}


def read_exactly(stream, size):
    found = b""
    while len(found) < size and (more := stream.read(size - len(found))):
        found += more
    return found


def read(stream):
    head = read_exactly(stream, 4)
    return json.loads(read_exactly(stream, struct.unpack(">I", head)[0])) if len(head) == 4 else None


def write(stream, message):
    body = json.dumps(message).encode()
    stream.write(struct.pack(">I", len(body)) + body)
    stream.flush()


def answer(model, request):
    messages, sampling = request["messages"], request["sampling"]
    found = {"answer": "Completion", "request_id": request["id"], "finish_reason": "stop", "cached_tokens": 0}
    found |= {"prompt_tokens": tokens_of(messages), "text": "", "output_tokens": 1}
    if request["choices"]:
        return found | {
            "choice_logprobs": logprobs_of(model, messages),
            "uncovered": 0.01,
            "choice_method": "first_token",
        }
    text = text_of(model, messages, sampling["seed"])
    nothing = {"choice_logprobs": None, "uncovered": None, "choice_method": None}
    return found | nothing | {"text": text, "output_tokens": len(text.split())}


def load(start, replies):
    how = Path(start["arguments"]["model"]).name
    print(f"loading for {how}", file=sys.stderr, flush=True)
    if how == "memory":
        print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", file=sys.stderr, flush=True)
        sys.exit(1)
    if how == "fatal":
        write(replies, {"type": "fatal", "error": "ValueError: no such architecture"})
        sys.exit(1)
    write(replies, {"type": "ready", "max_model_len": 4096, "window": WINDOW})
    return how


def serve(how, requests, replies, ledger):
    chance, waiting, num_answered = random.Random(os.getpid()), [], 0
    while True:
        while not waiting or (select.select([requests], [], [], 0)[0] and len(waiting) < WINDOW):
            message = read(requests)
            if message is None or message["type"] == "close":
                time.sleep(60 if how == "deaf" else 0)
                return
            if message["type"] == "abort":
                waiting = [kept for kept in waiting if kept["turn"] != message["turn"]]
            if message["type"] == "counters":
                counters = {"vllm:prompt_tokens": 9, "vllm:prompt_tokens_by_source:local_compute": 4}
                write(replies, {"type": "counters", "counters": counters})
            if message["type"] == "request":
                ledger.note("got", called(message))
                waiting.append(message)
        time.sleep(0.004 * chance.random())
        chance.shuffle(waiting)
        for _ in range(chance.randint(1, len(waiting))):
            if num_answered == ANSWERED_BEFORE_DEATH.get(how) or (how == "poison" and is_poison(waiting[0])):
                die(how, replies)
            message = waiting.pop(0)
            answers = [answer(how, message["request"])]
            write(replies, {"type": "answers", "turn": message["turn"], "answers": answers})
            ledger.note("gave", called(message))
            num_answered += 1


def die(how, replies):
    if how == "raises":
        write(replies, {"type": "fatal", "error": "RuntimeError: CUDA error: device-side assert triggered"})
        sys.exit(1)
    os.kill(os.getpid(), signal.SIGKILL)


def called(message):
    return name_of(message["request"]["messages"], message["request"]["sampling"]["seed"])


def is_poison(message):
    return any("poison" in content for _, content in message["request"]["messages"])


def main():
    ledger = Ledger(os.environ.get("LEDGER", os.devnull), "child")
    ledger.note("born")
    requests, replies = os.fdopen(int(sys.argv[1]), "rb", buffering=0), os.fdopen(int(sys.argv[2]), "wb")
    serve(load(read(requests), replies), requests, replies, ledger)


if __name__ == "__main__":
    main()
