"""The language between this process and the child that holds vLLM: JSON messages, each behind its length.

JSON, not pickle: a message can hold nothing but values, and a log of the pipe can be read. Lone surrogates and
infinities, which a model's text and log-probabilities may hold, survive the way there and back.
"""

import json
import struct
from typing import Any, BinaryIO

from rlaif.engines.base import Answer, Completion, Failure, Request, Sampling
from rlaif.records import Message

_LENGTH = struct.Struct(">I")


def write_message(stream: BinaryIO, message: dict[str, Any]) -> None:
    """Write one message and flush it. Raises BrokenPipeError when nobody reads any more."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def read_message(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message, or None when the other side is gone, be it in the middle of a message."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        return None
    message: dict[str, Any] = json.loads(body)
    return message


def request_to_dict(request: Request) -> dict[str, Any]:
    sampling = request.sampling
    return {
        "id": request.id,
        "messages": [[message.role, message.content] for message in request.messages],
        "sampling": {name: getattr(sampling, name) for name in Sampling.__slots__},
        "choices": request.choices,
        "json_schema": request.json_schema,
        "prefill": request.prefill,
    }


def request_from_dict(value: dict[str, Any]) -> Request:
    sampling = value["sampling"]
    return Request(
        id=value["id"],
        messages=tuple(Message(role, content) for role, content in value["messages"]),
        sampling=Sampling(**{**sampling, "stop": tuple(sampling["stop"])}),
        choices=tuple(value["choices"]),
        json_schema=value["json_schema"],
        prefill=value["prefill"],
    )


def answer_to_dict(answer: Answer) -> dict[str, Any]:
    fields = {name: getattr(answer, name) for name in type(answer).__slots__}
    return {"answer": type(answer).__name__, **fields}


def answer_from_dict(value: dict[str, Any]) -> Answer:
    fields = {name: field for name, field in value.items() if name != "answer"}
    if value["answer"] == "Failure":
        return Failure(**fields)
    logprobs = fields["choice_logprobs"]
    return Completion(**{**fields, "choice_logprobs": None if logprobs is None else tuple(logprobs)})
