"""Answers of random lengths for the tests of the RL mathematics, slow versions to compare with, and processes that add
up their sums."""

import threading

import numpy as np
import torch
from hypothesis import strategies as st


@st.composite
def ragged(draw, *, most_answers=7, longest=9, scales=(0.1, 1.0, 30.0)):
    """A random generator and the lengths of some answers; numbers come from the generator at one of the scales."""
    lengths = draw(st.lists(st.integers(1, longest), min_size=1, max_size=most_answers))
    return Ragged(lengths, draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from(scales)))


class Ragged:
    def __init__(self, lengths, seed=0, scale=1.0):
        self.lengths = torch.tensor(lengths)
        self.random, self.scale = np.random.default_rng(seed), scale

    def __repr__(self):
        return f"Ragged({self.lengths.tolist()}, scale={self.scale})"

    @property
    def num_answers(self):
        return len(self.lengths)

    def tokens(self):
        return torch.from_numpy(self.random.normal(0, self.scale, int(self.lengths.sum())))

    def logprobs(self):
        """Log-probabilities of tokens: negative, of a size that models have."""
        return -torch.from_numpy(self.random.exponential(1.5, int(self.lengths.sum())))

    def answers(self):
        return torch.from_numpy(self.random.normal(0, self.scale, self.num_answers))

    def flags(self):
        return torch.from_numpy(self.random.random(self.num_answers) < 0.5)

    def apart(self, values):
        """The values of each answer as a list of plain floats."""
        return [part.tolist() for part in values.split(self.lengths.tolist())]


def close(found, wanted, tolerance=1e-10):
    """Equal to `tolerance`, relative to the largest number there is."""
    wanted = torch.as_tensor(wanted, dtype=torch.float64)
    assert found.shape == wanted.shape
    largest = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
    return wanted.numel() == 0 or float((found - wanted).abs().max()) <= tolerance * largest


def flat(lists):
    return [one for each in lists for one in each]


class Processes:
    """As many processes as there are parts: each runs `work(part, sum_over)` in a thread, and `sum_over` meets."""

    def __init__(self, number):
        self.barrier, self.number = threading.Barrier(number), number
        self.slots = [None] * number

    def run(self, work, parts):
        found = [None] * self.number

        def sum_over_of(rank):
            def sum_over(tensor):
                self.slots[rank] = tensor
                self.barrier.wait(120)
                total = torch.stack(self.slots).sum(0)
                self.barrier.wait(120)
                return total

            return sum_over

        def target(rank):
            found[rank] = work(parts[rank], sum_over_of(rank))

        threads = [threading.Thread(target=target, args=(rank,)) for rank in range(self.number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        return found
