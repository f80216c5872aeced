"""A policy that is a table: free logits at every state of the enumerable world, all of its answers in one flat array.
Every expectation is then a sum, and every gradient exact."""

import numpy as np
import torch

from benchmarks.rl_world import by_state, make_world
from rlaif.train.ragged import sums_of

WORLD = make_world(0)
STATES = list(by_state(WORLD, np.log(np.full(len(WORLD.answers), 1 / len(WORLD.answers)))))
LENGTHS = torch.tensor([len(answer) for answer in WORLD.answers])
CHOICES = [(STATES.index(answer[:n]), answer[n]) for answer in WORLD.answers for n in range(len(answer))]
PLACES = tuple(torch.tensor(column) for column in zip(*CHOICES, strict=True))  # state and token of every scored token


class Tabular:
    """A policy of one row of logits per state; all answers stand in one flat array of tokens, as in a batch."""

    def __init__(self, seed, scale=1.0):
        random = np.random.default_rng(seed)
        self.logits = torch.from_numpy(random.normal(0, scale, (len(STATES), WORLD.vocabulary))).requires_grad_()

    @property
    def conditional(self):
        return self.logits.log_softmax(-1)

    @property
    def tokens(self):
        """(S,) log-probabilities of the tokens of all answers."""
        return self.conditional[PLACES]

    @property
    def answers(self):
        """(Q,) log-probabilities of whole answers."""
        return sums_of(self.tokens, LENGTHS)

    @classmethod
    def of(cls, logprobs):
        """The policy of these log-probabilities of answers, (answers,)."""
        policy = cls(0)
        conditional = by_state(WORLD, logprobs)
        with torch.no_grad():
            policy.logits.copy_(torch.from_numpy(np.array([conditional[state] for state in STATES])))
        return policy

    def gradient(self, value):
        return torch.autograd.grad(value, self.logits)[0]


def expectation(policy, per_answer):
    """Σ π(y) · value(y), the probabilities without gradient: what the mean over sampled answers converges to."""
    return (policy.answers.detach().exp() * per_answer).sum()
