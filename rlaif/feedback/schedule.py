"""Which of a prompt's n answers are compared with which: all pairs, a ring, k random opponents, Swiss rounds.

A schedule is a pure function from the answers' ids and the rounds already played to the next round's pairs; an empty
round ends the tournament. `play` walks a schedule through the outcomes there are and says what has to be compared
next. It looks at outcomes only where the schedule asked for them, and a round is decided by whole earlier rounds, so an
interrupted tournament goes on as if it had not been, and outcomes left over from another schedule change nothing.

What they cost, in comparisons of n answers (each is two orders times the principles that apply):

    all pairs            n (n - 1) / 2        one round
    ring                 n (n = 2: 1)         one round
    k random opponents   n k / 2, rounded up  one round
    Swiss                what it is given     about 2/n of it rounds, each of which waits for the one before

Nothing here depends on the order in which ids are given. What should look random is drawn by digests of the ids.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from rlaif.identity import digest
from rlaif.numbers.bradley_terry import Comparisons, Strengths, fit_strengths

Pair = tuple[str, str]  # the lower id first
Outcomes = Mapping[Pair, float | None]  # P(the lower id is better); None: compared, and no verdict
NextRound = Callable[[Sequence[str], Sequence[Outcomes]], list[Pair]]

STANDINGS_RIDGE = 0.25  # early standings rest on one or two comparisons: a prior standard deviation of 2 log-odds


@dataclass(frozen=True, slots=True)
class Tournament:
    """The rounds that were played to their end, and what is missing of the next. Nothing missing: it is over."""

    rounds: tuple[Outcomes, ...]
    next_round: tuple[Pair, ...]
    missing: tuple[Pair, ...]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs the schedule has asked for so far, played or not."""
        return (*(pair for played in self.rounds for pair in played), *self.next_round)

    @property
    def is_over(self) -> bool:
        return not self.next_round


def play(ids: Sequence[str], known: Outcomes, next_round: NextRound) -> Tournament:
    """Walk a schedule through the outcomes known so far."""
    rounds: list[Outcomes] = []
    while True:
        pairs = next_round(ids, rounds)
        missing = tuple(pair for pair in pairs if pair not in known)
        if missing or not pairs:
            return Tournament(tuple(rounds), tuple(pairs), missing)
        rounds.append({pair: known[pair] for pair in pairs})


def all_pairs(ids: Sequence[str], rounds: Sequence[Outcomes]) -> list[Pair]:
    """Everyone against everyone."""
    return [] if rounds else [*combinations(_sorted(ids), 2)]


def ring(ids: Sequence[str], rounds: Sequence[Outcomes]) -> list[Pair]:
    """Every answer against the next one on a circle: the fewest comparisons of which none decides alone."""
    return [] if rounds else random_opponents(ids, rounds, k=2, seed="ring")


def random_opponents(ids: Sequence[str], rounds: Sequence[Outcomes], *, k: int, seed: str) -> list[Pair]:
    """Every answer against k others (one of them against k + 1 where n and k are odd), drawn by `seed` and the ids.

    The answers stand on a circle in drawn order, and each meets those at k/2 drawn distances, the next one always
    among them from k = 2 on: so all are connected, which k independent draws per answer would not promise.
    """
    if k < 1:
        raise ValueError(f"an answer needs at least one opponent, not {k}")
    if rounds:
        return []
    circle = sorted(_sorted(ids), key=lambda name: (digest({"seat": name, "seed": seed}), name))
    n = len(circle)
    if k >= n - 1:
        return [*combinations(sorted(circle), 2)]
    seats: list[tuple[int, int]] = []
    is_odd = k % 2 == 1
    half = (n // 2 if n % 2 == 0 else min(2, k)) if is_odd else 0  # the distance of which each gets one opponent only
    free = [distance for distance in range(2, (n + 1) // 2) if distance != half]
    free.sort(key=lambda distance: digest({"distance": distance, "seed": seed}))
    for distance in [1, *free][: k // 2]:
        seats += [(seat, (seat + distance) % n) for seat in range(n)]
    if is_odd:
        seats += [(2 * i * half % n, (2 * i + 1) * half % n) for i in range((n + 1) // 2)] if n % 2 else []
        seats += [(seat, seat + half) for seat in range(n // 2)] if n % 2 == 0 else []
    return sorted({_pair(circle[a], circle[b]) for a, b in seats})


def swiss(ids: Sequence[str], rounds: Sequence[Outcomes], *, max_comparisons: int) -> list[Pair]:
    """Answers of like strength against each other, never twice, until `max_comparisons` are spent.

    Standings are Bradley–Terry strengths of the rounds so far. The two closest that have not met play each other, then
    the two closest of the others, and so on, in a round that leaves out as few as it can; of an odd number, the one
    sits out that has played most, and among those the weakest. A last round cut short keeps its closest pairs.
    """
    names = _sorted(ids)
    played = {pair: outcome for outcomes in rounds for pair, outcome in outcomes.items()}
    room = max_comparisons - len(played)
    if room <= 0:
        return []
    strength = standings(names, played)
    order = sorted(names, key=lambda name: (-round(strength[name], 9), digest({"draw": name}), name))
    matched = _closest_matching(order, strength, played)
    matched.sort(key=lambda pair: (round(abs(strength[pair[0]] - strength[pair[1]]), 9), pair))
    return sorted(matched[:room])


def standings(ids: Sequence[str], played: Outcomes, *, ridge: float = STANDINGS_RIDGE) -> dict[str, float]:
    """Bradley–Terry strengths by id; comparisons without a verdict say nothing."""
    names = _sorted(ids)
    place = {name: i for i, name in enumerate(names)}
    rows = [(place[x], place[y], p) for (x, y), p in sorted(played.items()) if p is not None]
    fitted = fit_strengths(Comparisons.of(len(names), rows), ridge=ridge)
    assert isinstance(fitted, Strengths)  # with a ridge there always is one
    return dict(zip(names, fitted.values.tolist(), strict=True))


def _closest_matching(order: Sequence[str], strength: Mapping[str, float], played: Outcomes) -> list[Pair]:
    """Pairs that have not met, leaving out as few as can be: closest first, or, where that leads into a dead end, the
    strongest first, each with the nearest that lets the others play too."""
    games = {name: sum(name in pair for pair in played) for name in order}
    sitting_out = sorted(range(len(order)), key=lambda i: (-games[order[i]], -i))
    for num_out in range(len(order) % 2, len(order), 2):
        dead: set[tuple[str, ...]] = set()
        for out in combinations(sitting_out, num_out):
            free = tuple(name for i, name in enumerate(order) if i not in out)
            found = _match_closest(free, strength, played) or _match_all(free, played, dead)
            if found is not None:
                return found
    return []


def _match_closest(free: tuple[str, ...], strength: Mapping[str, float], played: Outcomes) -> list[Pair] | None:
    """The closest pair, then the closest of those left, and so on; None if someone is left over."""
    place = {name: i for i, name in enumerate(free)}
    gaps = [
        (round(strength[x] - strength[y], 9), place[x], place[y])
        for x, y in combinations(free, 2)
        if _pair(x, y) not in played
    ]
    left = set(range(len(free)))
    found = []
    for _, i, j in sorted(gaps):
        if i in left and j in left:
            left -= {i, j}
            found.append(_pair(free[i], free[j]))
    return None if left else found


def _match_all(free: tuple[str, ...], played: Outcomes, dead: set[tuple[str, ...]]) -> list[Pair] | None:
    """All of `free` in pairs, or None; `dead` remembers what cannot be matched, so nothing is tried twice."""
    if not free:
        return []
    if free in dead:
        return None
    for name in free[1:]:  # sorted by strength, so the nearest comes first
        pair = _pair(free[0], name)
        if pair not in played:
            rest = _match_all(tuple(other for other in free[1:] if other != name), played, dead)
            if rest is not None:
                return [pair, *rest]
    dead.add(free)
    return None


def half_of_all_pairs(n: int) -> int:
    """Half the comparisons of a round-robin, rounded up: what Swiss rounds are measured at (benchmarks/tournaments)."""
    return math.ceil(n * (n - 1) / 4)


def most_rounds(n: int, comparisons: int) -> int:
    """The most Swiss rounds that so many comparisons of n answers can take; exact up to half of all of them.

    A round leaves out nobody (of an odd number, one) while everyone has met at most half of the others: what is left
    to play then holds a Hamiltonian path (Dirac 1952). Later rounds may seat fewer, but of a graph's edges a largest
    matching holds at least one in Δ + 1, with Δ the largest degree (Vizing 1964).
    """
    if n < 2:
        return 0
    all_of_them = n * (n - 1) // 2
    wanted, seated = min(comparisons, all_of_them), n // 2
    rounds = min((n + 1) // 2, math.ceil(wanted / seated))
    played, most_left = rounds * seated, n - 1 - rounds + n % 2
    while played < wanted:
        played += max(1, math.ceil((all_of_them - played) / (most_left + 1)))
        rounds += 1
    return rounds


def _sorted(ids: Sequence[str]) -> list[str]:
    names = sorted(ids)
    if len(set(names)) < len(names):
        raise ValueError("an answer takes part once: the ids hold a duplicate")
    return names


def _pair(x: str, y: str) -> Pair:
    return (x, y) if x < y else (y, x)
