"""Neutral text: nothing a conversation, an answer or a principle says can become part of the chat format around it.

A tokenizer turns the text of a special token into that token wherever it stands, so an answer that says `<|im_end|>`
would end the turn it is quoted in. Each such text is broken by an invisible word joiner after its first character:
what a person reads stays, what the tokenizer reads are ordinary tokens, and texts without one stay as they are to the
byte. Broken are the special tokens of the tokenizer, all markers the chat template writes (`[INST]`, `<think>`,
`User:` at a turn's head), and, for a server whose tokenizer is not here, the markers well known from many models.

The judge's own delimiters (`<response_a>`) are not a model's, and are defused where they are written
(`rlaif/templates.py`).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rlaif.engines.base import Request

NEUTRAL_VERSION = 1  # raised when a text is neutralised in another way; in the key of what it concerns
JOINER = "\u2060"
_BREAKS = (JOINER, "\u200b", " ")  # the first that the tokenizer's normaliser does not take out again

Messages = list[dict[str, str]]
Render = Callable[[Messages], str]

LITERAL = re.compile(  # what looks like a marker in a chat template
    r"<[|｜][^<>\s{}'\"]{1,80}?>|<[\w:.-]{1,60}\|>|</?[A-Za-z_][\w:.-]{0,60}>|<</?[A-Z]+>>|\[/?[A-Z][A-Z_]{1,40}\]|◁/?\w+▷"
)
_WELL_KNOWN = re.compile(
    r"<(?=\|/?[A-Za-z][\w/.:-]{0,63}\|?>|｜[^<>\s]{1,60}｜>|[A-Za-z_]{1,30}\|>|</?SYS>>"
    r"|/?(?:s|bos|eos|pad|unk|mask|sop|eop|start_of_turn|end_of_turn|start_of_image|end_of_image|think|thinking"
    r"|thought|reasoning|tool_call|tool_calls|tool_response|tool_result|tools|seed:\w+|unused\d+|extra_id_\d+"
    r"|reserved_\w+)>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK|ARGS|gMASK|sMASK"
    r"|CLS|SEP|MASK|PAD|BOS|EOS|UNUSED_TOKEN_\d+)\])"
    r"|◁(?=/?\w+▷)"
)
# Any text that some model's neutraliser, or the judge's template, may touch; looked for in every answer there is.
_SUSPECT = re.compile(r"<\W{0,3}\w|\|>|\[/?[A-Za-z]\w*\]|◁|#+ *\w")
_SUSPECT_TURN = re.compile(
    r":(?:(?<=user:)|(?<=system:)|(?<=assistant:)|(?<=human:)|(?<=model:)|(?<=\bai:)|(?<=\bbot:)|(?<=\bgpt:))", re.I
)


def is_suspect(text: str) -> bool:
    """Whether neutralising may change this text, for any model: decides what has `NEUTRAL_VERSION` in its key."""
    if any(mark in text for mark in "<|[◁#") and _SUSPECT.search(text):
        return True
    return ":" in text and _SUSPECT_TURN.search(text) is not None


class Neutraliser:
    """Breaks markers in texts. `breaker` is what is put behind a marker's first character."""

    def __init__(self, pattern: re.Pattern[str] | None, breaker: str = JOINER) -> None:
        self._pattern, self._breaker = pattern, breaker

    def text(self, text: str) -> str:
        """The same text where it holds no marker."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: found[0] + self._breaker, text)

    def messages(self, request: Request) -> Messages:
        """The chat as a template takes it: neutral, the start of the assistant's turn last where there is one."""
        chat = [{"role": message.role, "content": self.text(message.content)} for message in request.messages]
        return [*chat, {"role": "assistant", "content": self.text(request.prefill)}] if request.prefill else chat


WELL_KNOWN = Neutraliser(_WELL_KNOWN)


def added_tokens(tokenizer: Any) -> Mapping[int, Any]:
    """The tokens a tokenizer finds in a text before anything else, by id; `special` tells those of the format."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    found: Mapping[int, Any] = backend.get_added_tokens_decoder() if backend else tokenizer.added_tokens_decoder
    return found


def find_markers(tokenizer: Any, template: str, render: Render, named: Iterable[str] = ()) -> frozenset[str]:
    """The texts that must not stand in a message. An added token that no template writes (Gemma's `<table>`, runs of
    spaces) is ordinary text and none of them. `named` are special tokens named beside the tokenizer's own file."""
    special = {token.content for token in added_tokens(tokenizer).values() if token.special}
    written = set(LITERAL.findall(template))
    for piece in _pieces(render):
        written |= set(LITERAL.findall(piece))
        written |= {line for line in _lines(piece) if line.endswith(":") or line.startswith("#")}
    return frozenset(marker for marker in special | written | set(named) if len(marker.strip()) > 1)


def make_neutraliser(tokenizer: Any, markers: Iterable[str]) -> tuple[Neutraliser, frozenset[int]]:
    """A neutraliser of these markers that this tokenizer obeys, and the ids that are of the format alone."""
    wanted = frozenset(markers)
    structural = frozenset(
        token for token, one in added_tokens(tokenizer).items() if one.special or one.content in wanted
    )
    pattern = _pattern(wanted)
    for breaker in _BREAKS:
        neutral = Neutraliser(pattern, breaker)
        broken = " ".join(neutral.text(marker) for marker in sorted(wanted))
        if structural.isdisjoint(tokenizer.encode(broken, add_special_tokens=False)):
            break
    return neutral, structural


def _pattern(markers: frozenset[str]) -> re.Pattern[str] | None:
    """Finds the first character of every marker, also of two that overlap."""
    by_first: dict[str, list[str]] = defaultdict(list)
    for marker in sorted(markers):
        by_first[marker[0]].append(re.escape(marker[1:]))
    parts = [f"{re.escape(first)}(?={'|'.join(rest)})" for first, rest in sorted(by_first.items())]
    return re.compile("|".join(parts)) if parts else None


def _pieces(render: Render) -> list[str]:
    """What the template writes directly before, between and after messages; nothing where it refuses any chat."""
    import jinja2

    for roles in (("system", "user", "assistant", "user"), ("user", "assistant", "user")):
        said = [f"Zq{place}said" for place in range(len(roles))]
        try:
            text = render([{"role": role, "content": one} for role, one in zip(roles, said, strict=True)])
        except jinja2.TemplateError:  # no system turn, for one
            continue
        first, *others = re.split("|".join(said), text)
        return [first.rpartition("\n")[2] or first[-80:], *others]
    return []


def _lines(piece: str) -> list[str]:
    return [line.strip() for line in LITERAL.sub("\n", piece).splitlines() if re.search(r"\w", line)]
