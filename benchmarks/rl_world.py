"""A world small enough to write down, for what samples its answers: every answer, its probability, the best policy.

    world = make_world(seed=0)                    # two prompts, the forty answers of three tokens over four
    optimum = reverse_kl_optimum(world, reference, beta)        # (prompts, answers) log-probabilities

An answer ends with the stop token, or is cut off after `max_new_tokens`. Distributions are arrays of log-probabilities
(prompts, answers) in nats; KLs between them are sums, nothing is sampled. What each method's optimum is, and why, is
derived in docs/rl-mathematics.md:

    score and KL in the reward (PPO, RLOO)     π*(y) ∝ π_ref(y) exp(r(y) / β)
    k2 per token in the loss                   π(a|s) ∝ π_ref(a|s) exp(Q(s, a) / β),   Q the expected score under π
    k3 per token in the loss (GRPO)            π(a|s) = β π_ref(a|s) / (λ(s) - Q(s, a))
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


def divergence(wanted: Array, found: Array) -> Array:
    """(prompts,) KL(wanted ‖ found) in nats, exactly."""
    return (np.exp(wanted) * (wanted - found)).sum(axis=1)


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


def solved_backwards(world: World, reference: Array, choose: Callable[[Array, Array], Array]) -> Array:
    """The policy that chooses at every state, from the last to the first, by what answers are worth from there on under
    its own later choices. `choose` takes log π_ref(·|s) and Q(s, ·) and gives log π(·|s)."""
    found = []
    for scores, logprobs in zip(world.scores, reference, strict=True):
        worth = dict(zip(world.answers, scores.tolist(), strict=True))
        conditional = by_state(world, logprobs)
        for said in sorted(conditional, key=len, reverse=True):
            expected = np.array([worth[(*said, token)] for token in range(world.vocabulary)])
            conditional[said] = choose(conditional[said], expected)
            worth[said] = float(np.exp(conditional[said]) @ expected)
        found.append(by_answer(world, conditional))
    return np.array(found)


def token_k2_optimum(world: World, reference: Array, beta: float) -> Array:
    """Where the expected step of k2 per token in the loss vanishes."""

    def choose(reference: Array, expected: Array) -> Array:
        tilted = reference + expected / beta
        return tilted - special.logsumexp(tilted)

    return solved_backwards(world, reference, choose)


def token_k3_optimum(world: World, reference: Array, beta: float) -> Array:
    """Where the expected step of k3 per token in the loss vanishes: the maximum of Σ π Q - β KL(π_ref ‖ π)."""

    def choose(reference: Array, expected: Array) -> Array:
        shares = np.exp(reference)
        low = float((expected + beta * shares).max())  # there the largest share is 1 or more
        high = float(expected.max()) + beta  # there all of them together are 1 or less
        top = optimize.brentq(lambda level: (beta * shares / (level - expected)).sum() - 1.0, low, high, xtol=1e-14)
        found = beta * shares / (top - expected)
        return np.log(found / found.sum())

    return solved_backwards(world, reference, choose)
