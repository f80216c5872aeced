"""A world small enough to write down, for what samples its answers: every answer, its probability, the best policy.

    world = make_world(seed=0)                    # two prompts, the forty answers of three tokens over four
    optimum = reverse_kl_optimum(world, reference, beta)        # (prompts, answers) log-probabilities

An answer ends with the stop token, or is cut off after `max_new_tokens`. Distributions are arrays of log-probabilities
(prompts, answers) in nats; KLs between them are sums, nothing is sampled. What each method's optimum is, and why, is
derived in docs/rl-mathematics.md:

    reverse_kl_optimum           KL in the reward (PPO, RLOO)    π*(y) ∝ π_ref(y) exp(r(y) / β)
    loss_side_optimum, by_k2     k2 per token in the loss        π(a|s) ∝ π_ref(a|s) exp(Q(s, a) / β)
    loss_side_optimum, by_k3     k3 per token in the loss        π(a|s) = β π_ref(a|s) / (λ(s) - Q(s, a))
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Array = NDArray[np.float64]
Tokens = tuple[int, ...]
STOP = 3


@dataclass(frozen=True, eq=False)
class World:
    """Prompts and, for each of them, the score of every answer there is."""

    prompts: tuple[Tokens, ...]
    answers: tuple[Tokens, ...]
    scores: Array  # (prompts, answers)
    vocabulary: int
    max_new_tokens: int

    def score(self, prompt: Tokens, answer: Tokens) -> float:
        return float(self.scores[self.prompts.index(prompt), self.answers.index(answer)])

    def is_ended(self, answer: Tokens) -> bool:
        return answer[-1] == STOP


def all_answers(vocabulary: int, max_new_tokens: int) -> tuple[Tokens, ...]:
    """Every answer: words up to and with the stop token, or as many words as are allowed."""
    words = [token for token in range(vocabulary) if token != STOP]
    ended = [(*said, STOP) for length in range(max_new_tokens) for said in itertools.product(words, repeat=length)]
    return (*ended, *itertools.product(words, repeat=max_new_tokens))


def make_world(seed: int, *, vocabulary: int = 4, max_new_tokens: int = 3, num_prompts: int = 2) -> World:
    """Scores are drawn from a standard normal; prompts begin differently, since a model whose attention has seen one
    token alone cannot tell how often."""
    answers = all_answers(vocabulary, max_new_tokens)
    scores = np.random.default_rng(seed).normal(0, 1, (num_prompts, len(answers)))
    prompts = tuple((number % vocabulary, (number + 1) % vocabulary) for number in range(num_prompts))
    return World(prompts, answers, scores, vocabulary, max_new_tokens)


# --- distributions


def divergence(one: Array, other: Array) -> Array:
    """(prompts,) KL(one ‖ other) in nats, exactly."""
    found: Array = (np.exp(one) * (one - other)).sum(axis=1)
    return found


def reverse_kl_optimum(world: World, reference: Array, beta: float) -> Array:
    """The maximum of E[r] - β KL(π ‖ π_ref): π_ref exp(r / β), normalised. Korbak et al., arXiv:2205.11275."""
    tilted = reference + world.scores / beta
    return tilted - special.logsumexp(tilted, axis=1, keepdims=True)


def by_state(world: World, logprobs: Array) -> dict[Tokens, Array]:
    """log π(a|s) of one prompt, (vocabulary,) for every beginning of an answer: answer probabilities summed up."""
    mass: dict[Tokens, float] = {}
    for answer, logprob in zip(world.answers, logprobs, strict=True):
        for length in range(len(answer) + 1):
            said = answer[:length]
            mass[said] = mass.get(said, 0.0) + float(np.exp(logprob))
    states = [said for said in mass if said not in world.answers]
    return {said: np.log([mass[(*said, token)] / mass[said] for token in range(world.vocabulary)]) for said in states}


def by_answer(world: World, conditional: dict[Tokens, Array]) -> Array:
    """(answers,) log π(y) from log π(a|s)."""
    return np.array([sum(conditional[y[:n]][y[n]] for n in range(len(y))) for y in world.answers])


Choice = Callable[[Array, Array, Array], Array]  # log π_ref(·|s), worth, strength of the pull -> log π(·|s)


def loss_side_optimum(
    world: World, reference: Array, beta: float, choose: Choice, *, by_std: bool = False, by_length: bool = False
) -> Array:
    """Where the expected step vanishes when the score is an advantage and the KL stands in the loss, token by token.

    At every state, from the last to the first, `choose` balances what answers are worth from there on, under the
    policy's own later choices, with the pull to the reference. `by_std`: scores are divided by their deviation under
    the policy, GRPO's in the limit of large groups. `by_length`: an answer's tokens count 1 / length, GRPO's mean over
    answers; then the baseline matters too. Both depend on the policy, so that the point is found by repetition. With
    k2 and a small β there is none but a policy that always answers the same: the less freedom, the smaller the
    deviation, the larger the advantages.
    """
    return np.array(
        [_one_prompt(world, *one, beta, choose, by_std, by_length) for one in zip(world.scores, reference, strict=True)]
    )


def _one_prompt(
    world: World, scores: Array, reference: Array, beta: float, choose: Choice, by_std: bool, by_length: bool
) -> Array:
    weights = np.array([1.0 / len(answer) if by_length else 1.0 for answer in world.answers])
    found = reference
    for _ in range(1000):
        shares = np.exp(found)
        centred = scores - shares @ scores
        advantages = centred / np.sqrt(shares @ centred**2) if by_std else centred
        newer = _solved_backwards(world, reference, advantages * weights, weights, beta, choose)
        if float(np.abs(newer - found).max()) < 1e-12 or not (by_std or by_length):
            return newer
        found = np.logaddexp(found, newer) - np.log(2.0)  # half way: the deviation answers back
    raise ArithmeticError("no such point was found: the deviation goes to 0 with the policy's freedom")


def _solved_backwards(
    world: World, reference: Array, worth: Array, weights: Array, beta: float, choose: Choice
) -> Array:
    """log π(y) of one prompt. `worth` (answers,) and `weights` (answers,): what an answer brings at each of its tokens,
    and how much each of them counts."""
    worths = dict(zip(world.answers, worth.tolist(), strict=True))
    counts = dict(zip(world.answers, weights.tolist(), strict=True))
    conditional = by_state(world, reference)
    for said in sorted(conditional, key=len, reverse=True):
        further = [(*said, token) for token in range(world.vocabulary)]
        brings, weighs = (np.array([column[one] for one in further]) for column in (worths, counts))
        conditional[said] = choose(conditional[said], brings, beta * weighs)
        shares = np.exp(conditional[said])
        worths[said], counts[said] = float(shares @ brings), float(shares @ weighs)
    return by_answer(world, conditional)


def by_k2(reference: Array, worth: Array, strength: Array) -> Array:
    """worth - strength · log(π / π_ref) is the same for every choice."""

    def logprobs(level: float) -> Array:
        return reference + (worth - level) / strength

    found = optimize.brentq(
        lambda level: special.logsumexp(logprobs(level)), worth.min() - 1e-9, worth.max() + 1e-9, xtol=1e-14
    )
    return _normalised(logprobs(found))


def by_k3(reference: Array, worth: Array, strength: Array) -> Array:
    """worth - strength · (1 - π_ref / π) is the same for every choice: π = strength π_ref / (level - worth + strength).
    The level lies above every worth - strength, or a share would be negative."""
    shares, poles = strength * np.exp(reference), worth - strength

    def excess(level: float) -> float:
        return float((shares / (level - poles)).sum()) - 1.0

    low, high = float((poles + shares).max()), float(poles.max() + strength.max())  # 1 or more, 1 or less
    level = optimize.brentq(excess, low, high) if excess(low) > 0 else low
    return _normalised(np.log(shares / (level - poles)))


def _normalised(logprobs: Array) -> Array:
    """What root finding left undone."""
    found: Array = logprobs - special.logsumexp(logprobs)
    return found
