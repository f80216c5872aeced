"""Other people's data, beside the checkout: read for tests, never copied into the project. Absent, its tests skip."""

import csv
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(os.environ.get("RLAIF_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def folder(name: str) -> Path:
    if not (ROOT / name).is_dir():
        pytest.skip(f"{ROOT / name} is not there; RLAIF_SHARED_DATA names the folder that holds {name}/")
    return ROOT / name


def pandalm() -> dict[str, np.ndarray]:
    """people (999, 3), gpt and pandalm (999,) as their own codes 0 tie, 1, 2; prompts (999,); unparsed is a tie to
    them.
    """
    rows = json.loads((folder("pandalm") / "testset-v1.json").read_text())
    gpt = json.loads((folder("pandalm") / "gpt-3.5-turbo-testset-v1.json").read_text())
    panda = json.loads((folder("pandalm") / "pandalm-7b-testset-v1.json").read_text())
    assert [row["idx"] for row in rows] == [row["idx"] for row in gpt] == [row["idx"] for row in panda]
    return {
        "people": np.array([[int(row[f"annotator{place}"]) for place in (1, 2, 3)] for row in rows]),
        "gpt": np.array([{"1": 1, "2": 2}.get(row["gpt_result"], 0) for row in gpt]),
        "pandalm": np.array([int(row["pandalm_result"]) for row in panda]),
        "prompts": np.array([row["instruction"] + "\n" + row["input"] for row in rows]),
    }


def llmbar() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The judgments and the authors' statistics, row by row."""
    with gzip.open(folder("llmbar") / "judgments.csv.gz", "rt", newline="") as file:
        judgments = list(csv.DictReader(file))
    with (folder("llmbar") / "published_statistics.csv").open(newline="") as file:
        return judgments, list(csv.DictReader(file))
