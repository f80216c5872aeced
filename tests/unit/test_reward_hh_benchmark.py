"""benchmarks/reward_hh.py goes on where it was stopped, and its summary is over what is there."""

import gzip
import json

import numpy as np
import pytest

from benchmarks import reward_hh
from benchmarks import reward_hh_sides as sides


@pytest.fixture
def pairs_file(tmp_path):
    rows = []
    for number in range(40):
        asked = f"\n\nHuman: question number {number}\n\nAssistant:"
        longer, shorter = f"{asked} a patient answer to {number}", f"{asked} no"
        chosen, rejected = (longer, shorter) if number % 4 else (shorter, longer)
        rows.append(json.dumps({"chosen": chosen, "rejected": rejected}))
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    return path


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["reward_hh", *map(str, arguments)])
    return reward_hh.main()


def test_a_finished_fold_is_kept_and_the_summary_is_over_the_folds_that_are_there(
    pairs_file, tmp_path, monkeypatch, capsys
):
    common = [pairs_file, "--results", tmp_path / "kept", "--only", "ours", "--json"]
    assert call(monkeypatch, *common, "--summary") == 1  # nothing there
    assert call(monkeypatch, *common, "--folds", 1) == 0
    capsys.readouterr()

    def stopped(job, pairs, threads):
        assert job.fold == 2, "a kept fold is not trained again"
        raise KeyboardInterrupt

    monkeypatch.setattr(reward_hh, "run_job", stopped)
    assert call(monkeypatch, *common, "--folds", 1, 2) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert call(monkeypatch, *common, "--summary") == 0
    found = json.loads(capsys.readouterr().out)
    pairs = sides.read_pairs(pairs_file, print)
    held_out = [pair for pair in pairs if pair.fold == 1]
    assert found["ours"]["n"] == found["length alone"]["n"] == len(held_out) > 0
    longer = np.mean([len(pair.chosen) > len(pair.rejected) for pair in held_out])
    assert found["length alone"]["value"] == pytest.approx(longer)
    assert 0 <= found["ours"]["value"] <= 1


def test_results_of_other_data_are_not_mixed_in(pairs_file, tmp_path):
    pairs = sides.read_pairs(pairs_file, print)
    assert reward_hh.kept_folder(tmp_path, pairs) != reward_hh.kept_folder(tmp_path, pairs[1:])
