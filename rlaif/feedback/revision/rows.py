"""The rows of a run of revisions: examples to fine-tune on, (revision, original) pairs, and every round there was."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from rlaif.feedback.revision.block import Origin, RevisionBlock
from rlaif.feedback.revision.examples import Example, choose_examples
from rlaif.feedback.revision.rounds import Turn
from rlaif.pair_dataset import MESSAGES, PAIR_SCHEMA, pair_row
from rlaif.records import Pair

_LINEAGE = pa.list_(
    pa.struct(
        [
            ("round", pa.int64()),
            ("principle", pa.string()),
            ("critique", pa.string()),
            ("answer", pa.string()),
            ("ending", pa.string()),
            ("before_id", pa.string()),
            ("after_id", pa.string()),
            ("critique_key", pa.string()),
            ("revision_key", pa.string()),
        ]
    )
)
EXAMPLE_SCHEMA = pa.schema(
    [
        ("prompt", MESSAGES),
        ("completion", MESSAGES),
        ("original", pa.string()),
        ("probability", pa.float64()),
        ("lineage", _LINEAGE),
        ("policy", pa.string()),
        ("writer", pa.string()),
        ("judge", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("source", pa.string()),
        ("pair_id", pa.string()),
        ("prompt_id", pa.string()),
        ("original_id", pa.string()),
        ("revision_id", pa.string()),
    ]
)
REVISION_PAIR_SCHEMA = pa.schema(
    [
        *PAIR_SCHEMA,
        ("is_revision_chosen", pa.bool_()),
        ("round", pa.int64()),
        ("principle", pa.string()),
        ("lineage", _LINEAGE),
        ("original_id", pa.string()),
        ("revision_id", pa.string()),
    ]
)
_WRITTEN = ("outcome", "reason", "text", "key")
ROUND_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("policy", pa.string()),
        ("prompt", MESSAGES),
        ("original_id", pa.string()),
        ("round", pa.int64()),
        ("principle", pa.string()),
        ("ending", pa.string()),
        ("before_id", pa.string()),
        ("before", pa.string()),
        *((f"critique_{name}", pa.string()) for name in _WRITTEN),
        *((f"revision_{name}", pa.string()) for name in _WRITTEN),
        ("after_id", pa.string()),
    ]
)


def example_rows(block: RevisionBlock) -> Iterator[dict[str, Any]]:
    """Prompt → last revision."""
    return (_example(one, block.road.settings.judge.model) for one in choose_examples(block).kept)


def _example(example: Example, judge: str) -> dict[str, Any]:
    chain, original, answer = example.origin.chain, example.origin.original, example.origin.turn.after
    return {
        "prompt": [message.as_dict() for message in chain.prompt.messages],
        "completion": [{"role": "assistant", "content": answer.text}],
        "original": original.text,
        "probability": example.probability,
        "lineage": [_lineage(turn) for turn in chain.turns],
        "policy": original.policy,
        "writer": example.writer,
        "judge": judge,
        "tags": sorted(chain.prompt.tags),
        "source": chain.prompt.source,
        "pair_id": example.label.pair.id,
        "prompt_id": chain.prompt.id,
        "original_id": original.id,
        "revision_id": answer.id,
    }


def revision_pair_row(pair: Pair, origins: Mapping[str, Origin]) -> dict[str, Any]:
    """A judged pair as it enters the dataset, with the rounds that led to its revision."""
    origin = origins[pair.id]
    turn = origin.turn
    return pair_row(pair) | {
        "is_revision_chosen": pair.chosen.id == turn.after.id,
        "round": turn.number,
        "principle": turn.asked.principle.id if turn.asked else None,
        "lineage": [_lineage(one) for one in origin.chain.turns[: turn.number]],
        "original_id": origin.original.id,
        "revision_id": turn.after.id,
    }


def _lineage(turn: Turn) -> dict[str, Any]:
    return {
        "round": turn.number,
        "principle": turn.asked.principle.id if turn.asked else None,
        "critique": turn.critique.text if turn.critique else None,
        "answer": turn.after.text,
        "ending": turn.ending,
        "before_id": turn.before.id,
        "after_id": turn.after.id,
        "critique_key": turn.critique.key if turn.critique else None,
        "revision_key": turn.revision.key if turn.revision else None,
    }


def round_rows(block: RevisionBlock) -> Iterator[dict[str, Any]]:
    """Every round of every answer, whatever became of it."""
    for chain in block.revised:
        for turn in chain.turns:
            own = _lineage(turn)
            row = {
                "prompt_id": chain.prompt.id,
                "policy": chain.sample.response and chain.sample.response.policy,
                "prompt": [message.as_dict() for message in chain.prompt.messages],
                "original_id": chain.sample.response and chain.sample.response.id,
                "before": turn.before.text,
                **{name: own[name] for name in ("round", "principle", "ending", "before_id", "after_id")},
            }
            for half, written in (("critique", turn.critique), ("revision", turn.revision)):
                row |= {f"{half}_{name}": written and getattr(written, name) for name in _WRITTEN}
            yield row
