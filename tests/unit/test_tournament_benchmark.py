"""The core of benchmarks/tournaments.py, on fewer runs: its judges are what they are called, its τ is Kendall's."""

from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import tournaments
from rlaif.feedback.schedule import all_pairs, half_of_all_pairs


def judge(noise: float, kind: str = "soft", n: int = 6, seed: int = 1):
    return tournaments.simulated_judge(np.random.default_rng(seed), n, noise, kind)


def plain_tau(one: dict[str, float], other: dict[str, float]) -> float:
    """Concordant less discordant pairs over all pairs; for rankings without ties."""
    pairs = [*combinations(sorted(one), 2)]
    return sum(np.sign(one[x] - one[y]) * np.sign(other[x] - other[y]) for x, y in pairs) / len(pairs)


@pytest.mark.parametrize("n", [4, 8, 16])
def test_a_judge_without_noise_is_recovered_whole_from_half_the_comparisons(n):
    """Soft outcomes that follow the model say how far apart two answers are, so any connected schedule knows all."""
    ids = [f"{number:04d}" for number in np.random.default_rng(n).permutation(n)]
    place = {name: i for i, name in enumerate(ids)}
    outcomes = {(x, y): 1 / (1 + np.exp(0.2 * (place[x] - place[y]))) for x, y in combinations(sorted(ids), 2)}
    for name, next_round in tournaments.schedules(n, half_of_all_pairs(n), "s").items():
        if name != "k random" or n > 4:  # one opponent each leaves 4 answers in two groups
            assert tournaments.agreement(outcomes, next_round)[0] == pytest.approx(1.0), name


def test_all_pairs_agree_with_themselves_and_the_tau_is_kendalls():
    outcomes = judge(0.5)
    assert tournaments.agreement(outcomes, all_pairs) == (pytest.approx(1.0), 15, 1)
    ids = sorted({name for pair in outcomes for name in pair})
    full = dict(zip(ids, tournaments.ranking(outcomes, ids), strict=True))
    next_round = tournaments.schedules(6, 8, "s")["swiss"]
    part = tournaments.play(ids, outcomes, next_round)
    ranked = tournaments.ranking({pair: outcomes[pair] for pair in part.pairs}, ids)
    expected = plain_tau(full, dict(zip(ids, ranked, strict=True)))
    assert tournaments.agreement(outcomes, next_round)[0] == pytest.approx(expected)


def test_noise_makes_upsets_and_a_hard_judge_says_yes_or_no():
    quiet, noisy = (np.mean([tournaments.upsets(judge(noise, seed=s)) for s in range(30)]) for noise in (0.1, 1.0))
    assert quiet < 0.05 < noisy
    assert set(judge(0.0, "hard").values()) == {tournaments.FLOOR, 1 - tournaments.FLOOR}


def test_half_the_comparisons_of_a_quiet_judge_reach_the_target():
    """n = 8 and n = 16 at noise 0.1; the full table is the benchmark's."""
    for n in (8, 16):
        rows = tournaments.simulate(n, 0.1, "soft", runs=30, share=0.5)
        swiss = next(row for row in rows if row["schedule"] == "swiss")
        assert swiss["comparisons"] == n * (n - 1) / 4
        assert swiss["tau"] >= tournaments.TARGET


def test_a_real_runs_complete_round_robins_are_replayed(tmp_path):
    outcomes = judge(0.3, n=4)
    rows = [{"prompt_id": "p", "x_id": x, "y_id": y, "probability_x": p} for (x, y), p in outcomes.items()]
    rows += [{"prompt_id": "q", "x_id": "a", "y_id": "b", "probability_x": 0.5}]  # two answers have no order to find
    rows += [{**row, "prompt_id": "r"} for row in rows[:5]]  # not complete
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "labels.parquet")
    assert tournaments.replayed(tmp_path / "labels.parquet") == {4: [outcomes]}
