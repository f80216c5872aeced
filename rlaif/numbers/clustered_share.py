"""A share of rows that share clusters (prompts), with Wilson's interval on as many rows as the clusters are worth.

Rows of one prompt go together, so N of them say less than N apart: by the design effect, the clustered variance of the
share over its binomial one (Kish 1965). Wilson's score interval is then taken at n = N / effect, and keeps what it is
wanted for: it stays within 0 and 1 and has a width where all rows are alike. One row per cluster: Wilson's own.
Sums are enough, so clusters can be added as they come and none is kept.
"""

from dataclasses import dataclass

from scipy.special import ndtri

from rlaif.numbers.figures import Estimate, Figure, NotDefined


@dataclass
class ClusteredShare:
    """Add each cluster once, whole: r successes among its n rows."""

    clusters: int = 0
    rows: int = 0
    successes: int = 0
    _rr: int = 0  # Σ r²
    _rn: int = 0  # Σ r·n
    _nn: int = 0  # Σ n²

    def add(self, successes: int, rows: int) -> None:
        if not 0 <= successes <= rows:
            raise ValueError(f"{successes} successes among {rows} rows")
        self.clusters += rows > 0
        self.rows, self.successes = self.rows + rows, self.successes + successes
        self._rr += successes * successes
        self._rn += successes * rows
        self._nn += rows * rows

    @property
    def design_effect(self) -> float:
        """Σ (r − p·n)² / (N·p·(1 − p)), no less than 1. Where all rows are alike they are taken to go together within
        their clusters as much as they can: Σ n² / N."""
        share = self.successes / self.rows
        if share in (0.0, 1.0):
            return self._nn / self.rows
        within = self._rr - 2 * share * self._rn + share * share * self._nn
        return max(1.0, within / (self.rows * share * (1 - share)))

    def figure(self, level: float = 0.95) -> Figure:
        """The share with its interval: (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n) (Wilson 1927)."""
        if not self.rows:
            return NotDefined("no rows to compute it from", 0)
        share, size, z = self.successes / self.rows, self.rows / self.design_effect, float(ndtri((1 + level) / 2))
        middle = share + z * z / (2 * size)
        half = z * (share * (1 - share) / size + z * z / (4 * size * size)) ** 0.5
        scale = 1 + z * z / size
        low = (middle - half) / scale if share > 0.0 else 0.0  # exactly, not up to rounding
        high = (middle + half) / scale if share < 1.0 else 1.0
        return Estimate(share, low, high, self.rows, self.clusters)
