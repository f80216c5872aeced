"""What the answers probably are, and how each rater errs, when nobody knows the truth: Dawid and Skene 1979.

Maximum likelihood by EM for nominal answers (Applied Statistics 28, 20–28): each rater has a confusion matrix, votes
are independent given the truth. It needs raters who vote on the same pairs, and it knows nothing of clusters. It is a
consensus, not a gold label: raters who err alike, as judges of one family do, make it confidently wrong.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from rlaif.numbers.ceiling import majority
from rlaif.numbers.figures import BoolArray, FloatArray, IntArray, NotDefined


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """`posterior` (N, C), zeros for a pair without votes; `prior` (C,); `confusion` (R, C, C), P(rater says | truth),
    NaN where a rater voted on nothing or a class has no pair. `log_likelihood` in nats."""

    posterior: FloatArray
    prior: FloatArray
    confusion: FloatArray
    log_likelihood: float
    iterations: int
    is_converged: bool


def dawid_skene(
    votes: FloatArray, *, max_iterations: int = 1000, tolerance: float = 1e-8, smoothing: float = 0.0
) -> Consensus | NotDefined:
    """votes (N, R, C), shares; pairs without votes are left out. Starts from the votes' shares (the paper's eq. 3.1).

    `smoothing` is added to every cell of every confusion matrix; 0 is maximum likelihood. Stops when no posterior moves
    by more than `tolerance`. Equal rows of votes have equal posteriors, so only distinct rows are gone through.
    """
    voted: BoolArray = votes.sum(axis=(1, 2)) > 0
    raters = int((votes.sum(axis=(0, 2)) > 0).sum())
    if raters < 2:
        return NotDefined(f"a consensus needs two raters; {raters} voted", int(voted.sum()))
    patterns, places, counts = np.unique(votes[voted], axis=0, return_inverse=True, return_counts=True)
    posterior = patterns.sum(axis=1) / patterns.sum(axis=(1, 2))[:, None]
    is_converged, iteration, log_likelihood = False, 0, -np.inf
    while iteration < max_iterations and not is_converged:
        iteration += 1
        log_joint = _log_joint(patterns, *_maximised(posterior, patterns, counts, smoothing))
        evidence = logsumexp(log_joint, axis=1, keepdims=True)
        updated = np.exp(log_joint - evidence)
        is_converged = bool(np.abs(updated - posterior).max() <= tolerance)
        posterior, log_likelihood = updated, float(counts @ evidence[:, 0])
    whole = np.zeros((len(votes), votes.shape[2]))
    whole[voted] = posterior[places.reshape(-1)]
    prior, confusion = _maximised(posterior, patterns, counts, smoothing)
    return Consensus(whole, prior, confusion, log_likelihood, iteration, is_converged)


def _maximised(
    posterior: FloatArray, patterns: FloatArray, counts: IntArray, smoothing: float
) -> tuple[FloatArray, FloatArray]:
    """The M step: prior (C,) and confusion (R, C, C), of distinct rows of votes (P, R, C) and how often each occurs."""
    weighted = posterior * counts[:, None]
    raters, classes = patterns.shape[1:]
    said = (weighted.T @ patterns.reshape(len(patterns), -1)).reshape(classes, raters, classes)
    return weighted.sum(axis=0) / counts.sum(), _rows_to_one(said.swapaxes(0, 1) + smoothing)


def _rows_to_one(counts: FloatArray) -> FloatArray:
    totals = counts.sum(axis=-1, keepdims=True)
    return np.where(totals > 0, counts / np.where(totals > 0, totals, 1.0), np.nan)


def _log_joint(votes: FloatArray, prior: FloatArray, confusion: FloatArray) -> FloatArray:
    """log P(truth, votes): (N, C). A vote that a class never gets has log-probability −1e6 in place of −inf."""
    with np.errstate(divide="ignore"):
        logs = np.nan_to_num(np.log(confusion), nan=0.0, neginf=-1e6)
        own = np.nan_to_num(np.log(prior), neginf=-1e6)
    return np.asarray(votes.reshape(len(votes), -1) @ logs.swapaxes(1, 2).reshape(-1, len(prior)) + own)


def consensus_choice(consensus: Consensus) -> FloatArray:
    """The most probable answer as shares (N, C), equal parts on a draw, zeros without votes."""
    return majority(consensus.posterior[:, None, :])
