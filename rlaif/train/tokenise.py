"""From conversations and texts to token sequences in which the answer has been located.

The whole conversation is rendered by the chat template and tokenised once; the answer is then found in it. Pieces are
never tokenised apart and glued: a tokenizer may merge a prompt's last characters with an answer's first ones, and the
model would then be trained on tokens it never meets. An answer begins where the prompt tokenised alone ends; where the
two merge, and the prompt alone is no beginning of the whole, with the first token that reaches beyond the prompt's last
character. That token is scored (it holds the beginning of the answer), and the row is counted as merged.

Scored is each answer turn with its end-of-turn token; not scored is the white space a template writes after that token,
which a model that stops there never writes. Such tokens stay in the sequence: a reward is read at its very end, where
everyone who scores a rendered conversation reads it.

Texts (no conversation) get the tokenizer's own special tokens and one end-of-sequence token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import numpy as np

from rlaif.errors import InputError
from rlaif.train.cells import SAME, Content, Refused, Turn
from rlaif.train.packing import Family, TokenSequence

TooLong = Literal["refuse", "cut_answer", "cut_prompt"]
TOO_LONG, NO_ANSWER_LEFT, UNSTABLE = "too long", "no answer left after cutting", "template rewrites earlier turns"


@dataclass(frozen=True, slots=True)
class Tokenised:
    """The sequences of a row. `is_merged`: the prompt tokenised alone is not what they begin with."""

    family: Family
    is_merged: bool
    is_cut: bool = False


class Tokeniser:
    """A tokenizer of transformers with its chat template; renders, tokenises and locates."""

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            name = type(tokenizer).__name__
            raise InputError(f"{name} does not say where its tokens stand.", do="Use the model's fast tokenizer.")
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self._specials = {*tokenizer.all_special_ids, *(token for token, about in added.items() if about.special)}

    def tokenise(self, prompt: Content, answers: Sequence[Content]) -> Tokenised | Refused:
        """One sequence per answer; texts and conversations are told apart by their type."""
        found = [
            self._text(prompt, answer)
            if isinstance(prompt, str) and isinstance(answer, str)
            else self._conversation((*prompt, *answer), len(prompt))
            for answer in answers
        ]
        refused = next((one for one in found if isinstance(one, Refused)), None)
        if refused:
            return refused
        kept = [one for one in found if not isinstance(one, Refused)]
        return Tokenised(tuple(one for one, _ in kept), any(is_merged for _, is_merged in kept))

    def _text(self, prompt: str, answer: str) -> tuple[TokenSequence, bool] | Refused:
        tokenizer = self._tokenizer
        if tokenizer.eos_token_id is None:
            raise InputError("the tokenizer has no end-of-sequence token.", do="Name one in tokenizer_config.json.")
        ids, ends = self._ids(prompt + answer, add_special_tokens=True)
        if ids[-1] != tokenizer.eos_token_id:
            ids, ends = [*ids, tokenizer.eos_token_id], [*ends, len(prompt + answer) + 1]
        else:
            ends[-1] = len(prompt + answer) + 1  # special tokens stand at (0, 0)
        alone = self._ids(prompt, add_special_tokens=True)[0] if prompt else []
        if alone and alone[-1] == tokenizer.eos_token_id:
            alone = alone[:-1]  # a tokenizer that ends every text with it
        first, is_merged = _beginning(ids, ends, len(prompt), alone)
        return TokenSequence(np.array(ids), np.arange(len(ids)) >= max(first, 1)), is_merged

    def _conversation(self, turns: tuple[Turn, ...], num_prompt: int) -> tuple[TokenSequence, bool] | Refused:
        text = self._render(turns)
        ids, ends = self._ids(text, add_special_tokens=False)
        scored = np.zeros(len(ids), dtype=bool)
        is_merged = False
        for number, turn in enumerate(turns):
            if number < num_prompt or turn["role"] != "assistant":
                continue
            span = self._span(text, turns, number)
            if span is None:
                return Refused(UNSTABLE)
            alone = self._ids(text[: span[0]], add_special_tokens=False)[0]
            first, is_turn_merged = _beginning(ids, ends, span[0], alone)
            stop = _first_beyond(ends, span[1])
            scored[max(first, 1) : self._without_trailing_space(ids, first, stop)] = True
            is_merged |= is_turn_merged
        return TokenSequence(np.array(ids), scored), is_merged

    def _span(self, text: str, turns: Sequence[Turn], number: int) -> tuple[int, int] | None:
        """Characters of a turn in the rendered whole: after its header, up to where the next turn begins."""
        header = self._render(turns[:number], add_generation_prompt=True)
        start = shared_length(header, text)
        if start < len(header):  # e.g. a generation prompt that opens a thinking block the whole does not have
            before = self._render(turns[:number]) if number else ""
            if not text.startswith(before) or start < len(before):
                return None
        whole = text if number == len(turns) - 1 else self._render(turns[: number + 1])
        return (start, len(whole)) if text.startswith(whole) else None

    def _without_trailing_space(self, ids: Sequence[int], first: int, stop: int) -> int:
        """Where the scored part ends: after the last special token, if only white space follows it."""
        end = next((at for at in range(stop - 1, first - 1, -1) if ids[at] in self._specials), None)
        if end is None or self._tokenizer.decode(list(ids[end + 1 : stop])).strip():
            return stop
        return end + 1

    def _render(self, turns: Sequence[Turn], *, add_generation_prompt: bool = False) -> str:
        if not self._tokenizer.chat_template:
            raise InputError(
                "the tokenizer has no chat template, and the data are conversations.",
                do="Use the model's instruction-tuned version, or put a chat_template.jinja beside its tokenizer.",
            )
        return str(
            self._tokenizer.apply_chat_template(
                list(turns), tokenize=False, add_generation_prompt=add_generation_prompt
            )
        )

    def _ids(self, text: str, *, add_special_tokens: bool) -> tuple[list[int], list[int]]:
        """Token ids, and for each the character after its last one."""
        found = self._tokenizer(text, add_special_tokens=add_special_tokens, return_offsets_mapping=True)
        return list(found["input_ids"]), [end for _, end in found["offset_mapping"]]


def shared_length(one: str, other: str) -> int:
    """How many leading characters two texts have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _beginning(ids: Sequence[int], ends: Sequence[int], boundary: int, alone: Sequence[int]) -> tuple[int, bool]:
    """The answer's first token, and whether it holds the prompt's last characters too. `alone`: the prompt's tokens."""
    if list(ids[: len(alone)]) == list(alone):
        return len(alone), False
    return _first_beyond(ends, boundary), True


def _first_beyond(ends: Sequence[int], boundary: int) -> int:
    """The first token that reaches beyond a character; their number when none does."""
    return next((at for at, end in enumerate(ends) if end > boundary), len(ends))


def fit(row: Tokenised, max_length: int, too_long: TooLong) -> Tokenised | Refused:
    """A row's sequences, at most `max_length` tokens long, or why not. The prompt is cut for all answers alike."""
    excess = max(len(one) for one in row.family) - max_length
    family, is_cut = row.family, excess > 0
    if is_cut and too_long == "refuse":
        return Refused(TOO_LONG)
    if is_cut and too_long == "cut_answer":
        family = tuple(TokenSequence(one.ids[:max_length], one.scored[:max_length]) for one in family)
    if is_cut and too_long == "cut_prompt":
        # the first token stays: it is where models with a beginning-of-sequence token expect one
        if excess > min(int(one.scored.argmax()) for one in family) - 2:
            return Refused(TOO_LONG)
        gone = slice(1, 1 + excess)
        family = tuple(TokenSequence(np.delete(one.ids, gone), np.delete(one.scored, gone)) for one in family)
    if any(one.num_scored == 0 for one in family):
        return Refused(NO_ANSWER_LEFT)
    if len(family) > 1 and len({one.ids.tobytes() for one in family}) < len(family):
        return Refused(SAME)
    return Tokenised(family, row.is_merged, is_cut)
