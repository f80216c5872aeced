"""Reward models as rewards: their own tokens where they share the policy's tokenizer, the text where they do not.

    reward = ModelReward(RewardScorer.load(folder), tokenizer, …)
    rewards = reward(answers)          # (r - mean) / std of the reward model's own data; an ensemble's disagreement

Where the two tokenizers agree in every token, a reward model reads the policy's tokens themselves, followed by what the
template writes after an answer. Where they differ, prompt and answer are rendered by the reward model's own chat
template and tokenised anew, as when it was trained. An answer that was cut off is read as it is, without the end that
would make it look finished.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlaif.errors import InputError
from rlaif.train.packing import Family, TokenSequence
from rlaif.train.rl.rewards import Answer, Array, Rewards, of_members
from rlaif.train.scoring import RewardScorer


class ModelReward:
    """One reward model. `pessimism` takes so many deviations of an ensemble's members from its mean."""

    def __init__(
        self,
        scorer: RewardScorer,
        tokenizer: Any,
        *,
        name: str = "reward_model",
        budget: int = 4096,
        pessimism: float = 0.0,
    ) -> None:
        self.scorer, self.name, self.budget, self.pessimism = scorer, name, budget, pessimism
        self.reader = reader_of(scorer, tokenizer)
        if pessimism and scorer.heads.members == 1:
            raise InputError(
                f"the reward model {name!r} has a single head, so nothing can disagree.",
                do="Leave pessimism out, or train one with `members: 4`.",
            )

    @property
    def reads_the_policys_tokens(self) -> bool:
        return isinstance(self.reader, _SameTokens)

    def __call__(self, answers: Sequence[Answer]) -> Rewards:
        families, places = self._families(answers)
        scores = self.scorer.score(families, budget=self.budget)
        order = np.concatenate(places)
        values, parts = _in_order([one.rewards for one in scores], order), dict[str, Array]()
        for name in self.scorer.heads.principles:
            parts[f"{self.name}_{name}"] = _in_order([one.principles[name] for one in scores], order)
        if self.scorer.heads.members == 1:
            return Rewards(values, {self.name: values, **parts})
        members = _in_order([one.members for one in scores if one.members is not None], order)
        return of_members(self.name, members, parts, self.pessimism)

    def _families(self, answers: Sequence[Answer]) -> tuple[list[Family], list[list[int]]]:
        """Answers to one prompt together, so that the prompt is computed once; and where each lies."""
        by_prompt: dict[str, list[int]] = {}
        for place, one in enumerate(answers):
            by_prompt.setdefault(one.prompt.id, []).append(place)
        places = list(by_prompt.values())
        return [tuple(self.reader(answers[place]) for place in group) for group in places], places


class _SameTokens:
    """The policy's own tokens, then what the template writes after an answer that ended."""

    def __init__(self, tokenizer: Any) -> None:
        self.tail = _tail_of(tokenizer)

    def __call__(self, answer: Answer) -> TokenSequence:
        own = answer.rollout
        tail = self.tail if own.is_ended else ()
        return _unscored(np.concatenate([own.prompt, own.answer, np.array(tail, dtype=np.int64)]))


class _ByText:
    """Prompt and answer through the reward model's own template and tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, answer: Answer) -> TokenSequence:
        turns = [message.as_dict() for message in answer.prompt.messages]
        if answer.rollout.is_ended:
            whole = [*turns, {"role": "assistant", "content": answer.text}]
            text = self.tokenizer.apply_chat_template(whole, tokenize=False)
        else:
            text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + answer.text
        return _unscored(np.array(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64))


def _in_order(by_family: Sequence[Array], order: Array) -> Array:
    """Families' values, put where their answers lie."""
    together = np.concatenate(by_family)
    found = np.empty_like(together)
    found[order] = together
    return found


def reader_of(scorer: RewardScorer, tokenizer: Any) -> _SameTokens | _ByText:
    """How this reward model reads a policy's answers; raises InputError where it cannot."""
    theirs = scorer.tokenizer
    same_template = (tokenizer.chat_template or None) == (theirs.chat_template or None)
    if tokenizer.get_vocab() == theirs.get_vocab() and same_template:
        return _SameTokens(tokenizer)
    if not theirs.chat_template:
        raise InputError(
            "the reward model has another tokenizer than the policy and no chat template to read its answers with.",
            do="Train the reward model from the policy's own base, or put a chat_template.jinja beside its tokenizer.",
        )
    return _ByText(theirs)


def _tail_of(tokenizer: Any) -> tuple[int, ...]:
    """What a template writes after an answer's end-of-turn token (a line's end), as tokens: a reward is read there."""
    if not tokenizer.chat_template:
        return ()
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    specials = set(tokenizer.all_special_ids) | {
        token for token, about in tokenizer.added_tokens_decoder.items() if about.special
    }
    end = next((at for at in range(len(ids) - 1, -1, -1) if ids[at] in specials), len(ids) - 1)
    return tuple(ids[end + 1 :])


def _unscored(ids: Any) -> TokenSequence:
    return TokenSequence(ids, np.zeros(len(ids), dtype=bool))
