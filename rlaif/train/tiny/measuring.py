"""Measure the shipped models, print the figures, and keep them beside the weights as `measured.json`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlaif.bundled import resolve_model
from rlaif.train.tiny.measure_judge import measure_judge
from rlaif.train.tiny.measure_policy import measure_policy


def measure(*, count: int, num_prompts: int, seed: int, write: bool) -> dict[str, Any]:
    """Both models' figures: `count` comparisons per split for the judge, `num_prompts` × 4 answers of the policy."""
    command = f"python -m rlaif.train.tiny measure --count {count} --prompts {num_prompts} --seed {seed}"
    head = {"command": command, "date": datetime.now(UTC).date().isoformat(), "seed": seed}
    found = {
        "tiny-judge": {**head, **measure_judge(count, seed)},
        "tiny-policy": {**head, **measure_policy(num_prompts, seed)},
    }
    if write:
        for name, figures in found.items():
            path = Path(resolve_model(name)) / "measured.json"
            path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return found


def as_text(found: dict[str, Any]) -> str:
    """The figures for people, with the targets they are held against."""
    judge, policy = found["tiny-judge"], found["tiny-policy"]
    lines = ["tiny-judge, on held-out prompts and newly written answers"]
    names = {
        "train": "wordings seen in training",
        "frame": "held-out sentence frames",
        "phrase": "held-out phrases",
        "composition": "held-out compositions",
    }
    for block, title in (("wordings", ""), ("held_out_sentences", ", answers of held-out sentences")):
        for split, name in names.items():
            part = judge[block][split]
            lines.append(
                f"  {name + title:56} accuracy {part['accuracy']:.3f}  same after swap {part['same_after_swap']:.3f}  "
                f"ECE {part['ece']:.3f}  n {part['num_decisive']} decisive of {part['num_all']}"
            )
    lines.append("  constitution/small.yaml, each principle turned round (target 0.90)")
    lines += [
        f"    {name:14} turned {part['turned']:.3f}  accuracy as written {part['accuracy_as_written']:.3f}, "
        f"turned {part['accuracy_turned']:.3f}  n {part['num']}"
        for name, part in judge["small_yaml_turned"].items()
    ]
    said = judge["critiques"]
    lines.append(
        f"  critiques: parse {said['parse']:.3f}, right property {said['right_property']:.3f}, true about both answers "
        f"{said['true_about_both']:.3f}, wholly true {said['wholly_true']:.3f}  n {said['num']}"
    )
    lines += _modes_as_text(judge, names)
    lines.append("tiny-policy, sampled at temperature 1 on held-out prompts")
    shares = "  ".join(f"{name} {share:.2f}" for name, share in policy["share_with_property"].items())
    on = policy["judge_accuracy_on_samples"]
    lines += [
        f"  share with property (target 0.15 to 0.85): {shares}",
        f"  ended by themselves {policy['ended_by_themselves']:.3f}  names its topic {policy['names_its_topic']:.3f}  "
        f"sentences of the world {policy['sentences_of_the_world']:.3f}  mean words {policy['mean_words']}  "
        f"n {policy['num_answers']}",
        f"  tiny-judge on these samples: accuracy {on['accuracy']:.3f}  n {on['num_decisive']}",
    ]
    return "\n".join(lines)


def _modes_as_text(judge: dict[str, Any], names: dict[str, str]) -> list[str]:
    lines = ["  reasons before the verdict: accuracy of the verdict behind them, orders averaged"]
    for split, name in names.items():
        part = judge["reasoned"][split]
        lines.append(
            f"    {name:54} accuracy {part['accuracy']:.3f}  same after swap {part['same_after_swap']:.3f}  parsed "
            f"{part['parsed']:.3f}  true {part['reasons_true']:.3f}  n {part['num_decisive']} decisive"
        )
    lines.append("  scores of one answer: rank correlation of the mean score with the truth, and the pairs that follow")
    for split, part in judge["scores"].items():
        lines.append(
            f"    {names.get(split, split):54} Spearman {part['spearman']:.3f}  right end {part['right_end']:.3f}  ECE "
            f"{part['ece']:.3f}  n {part['num_scores']}; pairs {part['pair_accuracy']:.3f}  n {part['num_pairs']}"
        )
    return lines
