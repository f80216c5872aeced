"""How a choice is spelled in a model's vocabulary, and how its probability is put together from token probabilities.

"A" and " A" are different tokens, and a judge may answer with either; reading one of them only would call the rest of
its verdict nothing. So every vocabulary id whose decoded text, white space around it removed, is the choice counts as
a spelling of it, and the spellings are summed. A tokenizer that has no single token for one of the choices (a score
of 10 in a model that writes digit by digit) gets the exact fallback: the choices' token sequences make a small tree,
and the model is asked once per inner node for the log-probabilities of that node's children.

Matching is by token id after the chat template, never by text, and case matters: "a" is not a spelling of "A".
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rlaif.engines.base import ChoiceMethod
from rlaif.errors import InputError

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class ChoiceTree:
    """The token sequences of each choice as a tree. `spellings[i]` are the sequences of choice i."""

    choices: tuple[str, ...]
    spellings: tuple[tuple[Tokens, ...], ...]

    @property
    def method(self) -> ChoiceMethod:
        return "first_token" if self.depth == 1 else "continuation"

    @property
    def depth(self) -> int:
        """The longest spelling in tokens: what must fit into the context after the prompt."""
        return max(len(tokens) for spelled in self.spellings for tokens in spelled)

    @cached_property
    def children(self) -> dict[Tokens, Tokens]:
        """For every inner node (the tokens that lead to it) the ids that may follow; the root comes first."""
        found: dict[Tokens, set[int]] = {}
        for spelled in self.spellings:
            for tokens in spelled:
                for length in range(len(tokens)):
                    found.setdefault(tokens[:length], set()).add(tokens[length])
        return {node: tuple(sorted(found[node])) for node in sorted(found, key=lambda node: (len(node), node))}

    def logprobs(self, tables: Mapping[Tokens, Mapping[int, float]]) -> tuple[tuple[float, ...], float]:
        """Log-probability of each choice and the uncovered mass, from one table per inner node.

        A spelling that another one continues ("1" and "10" in single digits) gets what is left after it: the choice
        is "1" only if the next token does not make it the longer choice.
        """
        masses = [
            math.fsum(self._mass(tokens, tables) for tokens in spelled)  # summed as probabilities: spellings exclude
            for spelled in self.spellings  # each other, as no two are the same sequence
        ]
        uncovered = max(0.0, 1.0 - math.fsum(masses))
        if self.method == "first_token":  # stays in logs: a choice of probability 1e-300 keeps its value
            root = tables[()]
            return tuple(logsumexp([root[tokens[0]] for tokens in spelled]) for spelled in self.spellings), uncovered
        return tuple(math.log(mass) if mass > 0 else -math.inf for mass in masses), uncovered

    def _mass(self, tokens: Tokens, tables: Mapping[Tokens, Mapping[int, float]]) -> float:
        reached = math.exp(math.fsum(tables[tokens[:n]][tokens[n]] for n in range(len(tokens))))
        longer = math.fsum(math.exp(tables[tokens][child]) for child in self.children.get(tokens, ()))
        return reached * max(0.0, 1.0 - longer)


def logsumexp(values: Sequence[float]) -> float:
    """log(sum(exp(values))) without overflow; -inf for no values or only -inf."""
    top = max(values, default=-math.inf)
    if math.isinf(top):
        return top
    return top + math.log(math.fsum(math.exp(value - top) for value in values))


class Spellings:
    """All spellings of choices in one tokenizer's vocabulary. The vocabulary is read once, when first needed."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._trees: dict[tuple[str, ...], ChoiceTree] = {}

    def tree(self, choices: tuple[str, ...]) -> ChoiceTree:
        """The tree of these choices; raises InputError when they cannot be told apart."""
        if choices not in self._trees:
            spelled: list[tuple[Tokens, ...]] = [
                tuple((token,) for token in self._single_tokens.get(choice, ())) for choice in choices
            ]
            if not all(spelled):  # "10" in digits: then also " 1" as a space and a digit, or 10 alone would gain by it
                together = zip(choices, spelled, strict=True)
                spelled = [tuple(dict.fromkeys((*alone, *self._sequences(choice)))) for choice, alone in together]
            self._trees[choices] = make_tree(choices, spelled)
        return self._trees[choices]

    @cached_property
    def _single_tokens(self) -> dict[str, tuple[int, ...]]:
        special = set(self._tokenizer.all_special_ids)
        ids = [token for token in range(len(self._tokenizer)) if token not in special]
        found: dict[str, list[int]] = {}
        for token, text in zip(ids, _decoder(self._tokenizer)(ids), strict=True):
            found.setdefault(text.strip(), []).append(token)
        return {text: tuple(tokens) for text, tokens in found.items()}

    def _sequences(self, choice: str) -> tuple[Tokens, ...]:
        """How the tokenizer writes a choice that has no token of its own, at the start of a line and after a space."""
        written = (self._tokenizer.encode(text, add_special_tokens=False) for text in (choice, f" {choice}"))
        return tuple(dict.fromkeys(tuple(tokens) for tokens in written if tokens))


def make_tree(choices: tuple[str, ...], spelled: Sequence[tuple[Tokens, ...]]) -> ChoiceTree:
    """A tree of spellings, or an InputError: a choice that cannot be written, or two that are written alike."""
    owners: dict[Tokens, str] = {}
    for choice, spellings in zip(choices, spelled, strict=True):
        if not choice.strip() or not spellings:
            raise InputError(f"choice {choice!r} cannot be written in this model's vocabulary", do="Use other words.")
        for tokens in spellings:
            if tokens in owners:
                raise InputError(
                    f"choices {owners[tokens]!r} and {choice!r} are the same tokens {list(tokens)} for this model",
                    do="Use choices that differ by more than white space.",
                )
            owners[tokens] = choice
    return ChoiceTree(choices, tuple(spelled))


def _decoder(tokenizer: Any) -> Callable[[list[int]], list[str]]:
    """One decoded text per id. The Rust tokenizer behind a fast one decodes 150,000 ids in a tenth of a second."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return lambda ids: list(backend.decode_batch([[token] for token in ids], skip_special_tokens=False))
    return lambda ids: [tokenizer.decode([token]) for token in ids]
