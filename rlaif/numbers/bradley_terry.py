"""Bradley–Terry strengths of n items from soft comparisons, with standard errors; many small problems at once.

The model: P(i ≻ j) = sigmoid(s_i - s_j). A comparison is a probability p that i is the better one (0 and 1 are hard
outcomes), with a weight w: how many comparisons it counts for. Strengths maximise

    sum over comparisons of w (p log σ(s_i - s_j) + (1 - p) log σ(s_j - s_i))  -  ridge/2 · sum_i s_i²

(Bradley and Terry 1952; soft outcomes make it the quasi-likelihood of Papke and Wooldridge 1996, section 2). Strengths
are in log-odds and sum to 0 over every set of items that comparisons connect.

The ridge is a normal prior on each strength, mean 0 and variance 1/ridge. With it every problem has one finite answer.
Without it (ridge 0) the answer exists exactly when no group of items lost nothing to the others (Ford 1957: the graph
of who took any share from whom is strongly connected); else the result is `NotDefined`, with its reason.

Which standard errors: the covariance in `Strengths` takes each comparison as `w` independent 0/1 outcomes. A judge's
probability is no count of votes, so these are errors of that model, not of the judge. `sandwich_covariance` and
`dispersion` measure instead how far the comparisons lie from any Bradley–Terry order, and need more comparisons than
there are free strengths.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from rlaif.numbers.figures import NotDefined

Array = NDArray[np.float64]
RIDGE = 0.001  # a prior standard deviation of 32 log-odds: it holds back only what nothing else would
_MAX_STEPS = 100
_TOLERANCE = 1e-10  # of the gradient, relative to the weight of all comparisons


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Comparison k says that item `first[k]` beats `second[k]` with `probability[k]`; it counts `weight[k]` times."""

    num_items: int
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    probability: Array
    weight: Array

    def __post_init__(self) -> None:
        if not len(self.first) == len(self.second) == len(self.probability) == len(self.weight):
            raise ValueError("a comparison has two items, one probability and one weight")
        ends = np.concatenate([self.first, self.second])
        if ends.size and not (ends.min() >= 0 and ends.max() < self.num_items):
            raise ValueError(f"items are numbered 0 to {self.num_items - 1}, found {ends.min()} to {ends.max()}")
        if np.any(self.first == self.second):
            raise ValueError("an item is compared with itself")
        if not np.all((self.probability >= 0) & (self.probability <= 1)):
            raise ValueError("probabilities must lie in [0, 1]")
        if not np.all((self.weight > 0) & np.isfinite(self.weight)):
            raise ValueError("weights must be finite and above 0")

    @classmethod
    def of(
        cls, num_items: int, rows: Iterable[tuple[int, int, float]], weights: Sequence[float] | None = None
    ) -> "Comparisons":
        """From rows (i, j, P(i is better)); all weigh 1 unless weights are given."""
        table = np.array([*rows], dtype=np.float64).reshape(-1, 3)
        weight = np.ones(len(table)) if weights is None else np.asarray(weights, dtype=np.float64)
        return cls(num_items, table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], weight)

    def wins(self) -> Array:
        """(n, n): how much i took from j. All that the strengths depend on."""
        wins = np.zeros((self.num_items, self.num_items))
        np.add.at(wins, (self.first, self.second), self.weight * self.probability)
        np.add.at(wins, (self.second, self.first), self.weight * (1.0 - self.probability))
        return wins


@dataclass(frozen=True, slots=True, eq=False)
class Strengths:
    """Fitted strengths in log-odds, and their covariance under the model (of strengths centred on their mean).

    `component[i]` is the lowest item that i is connected with. Between components there are no comparisons: their
    difference is the prior's alone, and the covariance says so.
    """

    values: Array
    covariance: Array
    component: NDArray[np.int64]
    ridge: float

    @property
    def standard_errors(self) -> Array:
        return np.asarray(np.sqrt(np.clip(np.diagonal(self.covariance), 0.0, None)))

    @property
    def is_connected(self) -> bool:
        return bool(np.all(self.component == 0))

    def probability(self, i: int, j: int) -> float:
        """P(i is better than j) under the fit, compared or not."""
        return float(expit(self.values[i] - self.values[j]))

    def difference_error(self, i: int, j: int) -> float:
        """The standard error of s_i - s_j."""
        c = self.covariance
        return float(np.sqrt(max(c[i, i] + c[j, j] - 2.0 * c[i, j], 0.0)))


def fit_strengths(comparisons: Comparisons, *, ridge: float = RIDGE) -> Strengths | NotDefined:
    """The strengths of one problem."""
    return fit_many([comparisons], ridge=ridge)[0]


def fit_many(problems: Sequence[Comparisons], *, ridge: float = RIDGE) -> list[Strengths | NotDefined]:
    """The strengths of many problems, those of equal size in one go. Each is fitted as if it were alone."""
    if not (ridge >= 0 and np.isfinite(ridge)):
        raise ValueError(f"a ridge is finite and at least 0, not {ridge}")
    by_size: dict[int, list[int]] = defaultdict(list)
    for k, problem in enumerate(problems):
        if problem.num_items < 1:
            raise ValueError("strengths need at least one item")
        by_size[problem.num_items].append(k)
    found: dict[int, Strengths | NotDefined] = {}
    for places in by_size.values():
        wins = np.stack([problems[k].wins() for k in places])
        found.update(zip(places, _fit_equal_sizes(wins, ridge), strict=True))
    return [found[k] for k in range(len(problems))]


def _fit_equal_sizes(wins: Array, ridge: float) -> list[Strengths | NotDefined]:
    """(B, n, n) wins to B results. What no finite strength fits is told apart first and kept out of the iteration."""
    results: list[Strengths | NotDefined | None] = [None] * len(wins)
    if ridge == 0.0:
        is_connected = np.asarray(_reach((wins + wins.swapaxes(1, 2)) > 0).all((1, 2)))
        is_bounded = _reach(wins > 0).all((1, 2))
        for k in np.flatnonzero(~is_bounded):
            results[k] = NotDefined(_UNBOUNDED if is_connected[k] else _DISCONNECTED, wins.shape[-1])
    todo = [k for k, result in enumerate(results) if result is None]
    if todo:
        values, is_settled = _maximise(wins[todo], ridge)
        covariance = _model_covariance(wins[todo], values, ridge)
        components = np.argmax(_reach((wins[todo] + wins[todo].swapaxes(1, 2)) > 0), axis=2)
        for row, k in enumerate(todo):
            fitted = Strengths(values[row], covariance[row], components[row], ridge)
            results[k] = fitted if is_settled[row] else NotDefined(_UNSETTLED, wins.shape[-1])
    return [result for result in results if result is not None]


_DISCONNECTED = "the comparisons fall into groups that were never compared with each other; a ridge above 0 ties them"
_UNBOUNDED = "some items lost nothing to the others, so no finite strengths fit best; a ridge above 0 bounds them"
_UNSETTLED = "the fit did not settle: some probabilities are within rounding of 0 or 1; use a ridge above 0"


def _reach(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(B, n, n) edges to who reaches whom, by squaring."""
    n = edges.shape[-1]
    reach: NDArray[np.bool_] = np.logical_or(edges, np.eye(n, dtype=bool))
    for _ in range(int(n - 1).bit_length()):
        reach = np.matmul(reach, reach)
    return reach


def _maximise(wins: Array, ridge: float) -> tuple[Array, NDArray[np.bool_]]:
    """Newton's method with step halving, on a concave function, from 0. Settled problems no longer move."""
    num, n = wins.shape[:2]
    values = np.zeros((num, n))
    scale = 1.0 + wins.sum((1, 2))
    # The likelihood knows differences only. Without a ridge, the mean is held at 0 by an edge to it.
    hold = np.full((n, n), 1.0 / n) if ridge == 0.0 else np.zeros((n, n))
    is_settled = np.zeros(num, dtype=bool)
    for _ in range(_MAX_STEPS):
        gradient = _gradient(wins, values, ridge)
        is_settled = np.abs(gradient).max(1) <= _TOLERANCE * scale
        moving = np.flatnonzero(~is_settled)
        if not moving.size:
            break
        curvature = _information(wins[moving], values[moving], ridge) + hold
        step = np.asarray(np.linalg.solve(curvature, gradient[moving][:, :, None])[:, :, 0], dtype=np.float64)
        values[moving] = _uphill(wins[moving], values[moving], step, ridge)
    return values - values.mean(1, keepdims=True) * (ridge == 0.0), is_settled


def _uphill(wins: Array, values: Array, step: Array, ridge: float) -> Array:
    """The full step where it does not lead down, else the first of its halves that does not."""
    before = _objective(wins, values, ridge)
    share = np.ones(len(wins))
    for _ in range(60):
        moved = values + share[:, None] * step
        leads_down = _objective(wins, moved, ridge) < before - 1e-13 * np.abs(before)
        if not leads_down.any():
            break
        share[leads_down] /= 2.0
    return np.asarray(values + share[:, None] * step)


def _differences(values: Array) -> Array:
    return np.asarray(values[:, :, None] - values[:, None, :])


def _objective(wins: Array, values: Array, ridge: float) -> Array:
    likelihood = (wins * log_expit(_differences(values))).sum((1, 2))
    return np.asarray(likelihood - 0.5 * ridge * (values**2).sum(1))


def _gradient(wins: Array, values: Array, ridge: float) -> Array:
    surprise = wins * expit(-_differences(values))  # wins[i, j] · P(j ≻ i)
    return np.asarray(surprise.sum(2) - surprise.sum(1) - ridge * values)


def _information(wins: Array, values: Array, ridge: float) -> Array:
    """Minus the second derivative: the weighted Laplacian of the comparison graph, plus the ridge."""
    differences = _differences(values)
    edges = (wins + wins.swapaxes(1, 2)) * expit(differences) * expit(-differences)
    eye = np.eye(wins.shape[1])
    return np.asarray((edges.sum(2) + ridge)[:, :, None] * eye - edges)


def _model_covariance(wins: Array, values: Array, ridge: float) -> Array:
    """Inverse information of the strengths minus their mean: the mean itself is no parameter, only convention."""
    n = wins.shape[1]
    ones = np.full((n, n), 1.0 / n)
    inverse = np.linalg.inv(_information(wins, values, ridge) + (ones if ridge == 0.0 else 0.0))
    centre = np.eye(n) - ones
    return np.asarray(centre @ inverse @ centre)


def num_free(strengths: Strengths) -> int:
    """How many numbers were fitted: items less one per component."""
    return len(strengths.values) - len(np.unique(strengths.component))


def dispersion(comparisons: Comparisons, strengths: Strengths) -> float | NotDefined:
    """Pearson's chi-square per residual degree of freedom; 1 for 0/1 outcomes that follow the model.

    Model standard errors times its root are those of the quasi-likelihood (McCullagh and Nelder 1989, section 9.2).
    Soft outcomes scatter less than votes would: well below 1 means that the model's errors are too wide.
    """
    rest = len(comparisons.first) - num_free(strengths)
    if rest <= 0:
        return NotDefined(_too_few(comparisons, strengths), len(comparisons.first))
    expected = expit(strengths.values[comparisons.first] - strengths.values[comparisons.second])
    surprise = comparisons.weight * (comparisons.probability - expected) ** 2 / (expected * (1.0 - expected))
    return float(surprise.sum() / rest)


def sandwich_covariance(comparisons: Comparisons, strengths: Strengths) -> Array | NotDefined:
    """Covariance that assumes no variance of the outcomes (White 1982; "HC0"), of the centred strengths.

    It is too small when there are few comparisons per item, and asks for more of them than there are free strengths.
    """
    if len(comparisons.first) <= num_free(strengths):
        return NotDefined(_too_few(comparisons, strengths), len(comparisons.first))
    expected = expit(strengths.values[comparisons.first] - strengths.values[comparisons.second])
    residual = comparisons.weight * (comparisons.probability - expected)
    scores = np.zeros((len(residual), comparisons.num_items))
    rows = np.arange(len(residual))
    scores[rows, comparisons.first], scores[rows, comparisons.second] = residual, -residual
    bread = strengths.covariance
    return np.asarray(bread @ (scores.T @ scores) @ bread)


def _too_few(comparisons: Comparisons, strengths: Strengths) -> str:
    return (
        f"{len(comparisons.first)} comparisons fit {num_free(strengths)} free strengths without a rest, so nothing "
        "says how far they scatter"
    )
