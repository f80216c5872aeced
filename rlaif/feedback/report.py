"""What a run says of itself: the figures of `run.json`, and the dataset card. Pure functions of the run's result.

No time and no machine is in them, so equal results give equal bytes; how long things took is in `timings.json`.
"""

from collections import Counter
from dataclasses import asdict
from statistics import fmean
from typing import Any

from rlaif import __version__
from rlaif.constitution import Constitution
from rlaif.feedback.critique import deciding_principle
from rlaif.feedback.generate import Models, RunResult
from rlaif.settings import Settings


def summarise(result: RunResult, settings: Settings, constitution: Constitution, models: Models) -> dict[str, Any]:
    """The run's figures as plain JSON."""
    return {
        "name": settings.name,
        "rlaif": __version__,
        "constitution": {"name": constitution.name, "version": constitution.version},
        "judge": asdict(models.judge.identity),
        "policies": [asdict(model.identity) for model in models.policies],
        "pairs": len(result.pairs),
        "labelled_pairs": len(result.labelled),
        "stages": {name: asdict(stage) for name, stage in result.stages.items()},
        "left_out": result.left_out,
        "principles": _principles(result, constitution),
        "scored_by_continuation": sum(judgment.choice_method == "continuation" for judgment in result.judgments),
        "unanswered": [
            {"prompt_id": one.prompt.id, "prompt": one.prompt.messages[-1].content[:80], "reason": one.reason}
            for one in result.unanswered
        ],
    }


def _principles(result: RunResult, constitution: Constitution) -> list[dict[str, Any]]:
    """Each principle's part: how often it was heard, found the answers alike, was overruled by their order, and leads
    or opposes the label of a dataset pair; and how much probability the judge put outside the choices."""
    leading = Counter(deciding_principle(pair) for pair in result.pairs)
    against = Counter(name for pair in result.pairs for name, share in pair.shares.items() if share < 0)
    heard: Counter[str] = Counter()
    decided: Counter[str] = Counter()
    near_ties: Counter[str] = Counter()
    for label in result.labelled:
        for verdict in label.verdicts:
            heard[verdict.principle_id] += verdict.probability is not None
            decided[verdict.principle_id] += verdict.is_order_decided
            near_ties[verdict.principle_id] += verdict.is_near_tie and not verdict.is_order_decided
    uncovered: dict[str, list[float]] = {}
    for judgment in result.judgments:
        if judgment.uncovered is not None:
            uncovered.setdefault(judgment.principle_id, []).append(judgment.uncovered)
    return [
        {
            "id": principle.id,
            "weight": principle.weight,
            "judged_pairs": heard[principle.id],
            "near_ties": near_ties[principle.id],
            "near_tie_share": near_ties[principle.id] / heard[principle.id] if heard[principle.id] else None,
            "order_decided": decided[principle.id],
            "order_decided_share": decided[principle.id] / heard[principle.id] if heard[principle.id] else None,
            "mean_uncovered": fmean(uncovered[principle.id]) if principle.id in uncovered else None,
            "leads_pairs": leading[principle.id],
            "against_pairs": against[principle.id],
        }
        for principle in constitution.enabled
    ]


def dataset_card(summary: dict[str, Any], settings: Settings, constitution: Constitution) -> str:
    """The README.md of the dataset folder, in the form the Hugging Face Hub reads."""
    judge, policies = settings.judge.model, ", ".join(policy.model for policy in settings.policies)
    size = next(tag for limit, tag in _SIZES if summary["pairs"] < limit)
    lines = [
        "---",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        '    path: "*.parquet"',
        "task_categories:",
        "- text-generation",
        "tags:",
        "- preference",
        "- rlaif",
        "- synthetic",
        "size_categories:",
        f"- {size}",
        "---",
        "",
        f"# Preference pairs: {settings.name}",
        "",
        f"{summary['pairs']} pairs of answers by {policies}, compared by the judge model {judge} under the constitution"
        f" “{constitution.name}” (version {constitution.version}), made with rlaif {summary['rlaif']}.",
        "The labels are a model's, not people's: how far they agree with people has to be measured before they are"
        " trusted.",
    ]
    tiny = [name for name in dict.fromkeys([judge, *(p.model for p in settings.policies)]) if name.startswith("tiny-")]
    if tiny:
        lines.append(f"{' and '.join(tiny)} are tiny models for trying the software: this data is not for real work.")
    lines += ["", *_principle_table(summary, constitution), "", *_columns(settings), "", *_outcomes(summary), ""]
    return "\n".join(lines)


_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (float("inf"), "n>1M"),
)


def _principle_table(summary: dict[str, Any], constitution: Constitution) -> list[str]:
    texts = {principle.id: principle.text for principle in constitution.principles}
    lines = [
        "## Principles",
        "",
        "Every pair was judged under each principle in both orders, and the two averaged. `alike`: the share of pairs"
        " between 0.45 and 0.55. `order decided`: the share in which the two orders named different answers.",
        "",
        "| principle | weight | pairs | alike | order decided | leads | speaks against | text |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in summary["principles"]:
        shares = [row["near_tie_share"], row["order_decided_share"]]
        alike, decided = ("–" if share is None else f"{share:.1%}" for share in shares)
        text = " ".join(texts[row["id"]].split()).replace("|", "\\|")
        lines.append(
            f"| {row['id']} | {row['weight']:g} | {row['judged_pairs']} | {alike} | {decided} |"
            f" {row['leads_pairs']} | {row['against_pairs']} | {text} |"
        )
    return lines


def _columns(settings: Settings) -> list[str]:
    return [
        "## Columns",
        "",
        "- `prompt`, `chosen`, `rejected`: conversations (`role`, `content`), as TRL reads them.",
        "- `probability`: P(chosen is better), the principles' log-odds pooled by weight; `margin` = 2·probability − 1;"
        f" `is_tie`: the margin is 0 or under {settings.pairs.min_margin:g}.",
        "- `principles`: per principle the probability for the chosen answer, what each order gave, and its share of"
        " the label's log-odds (the shares add up).",
        "- `critique`: the judge's reasons under `critique_principle`, written after the label and no part of it; its"
        " response A is the one named in `critique_shows_first`.",
        "- `judge`, `chosen_policy`, `rejected_policy`, `tags`, `source`, and content-derived ids.",
    ]


def _outcomes(summary: dict[str, Any]) -> list[str]:
    lines = ["## How every request ended", ""]
    for name, stage in summary["stages"].items():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in stage["outcomes"].items() if count)
        lines.append(f"- {name}: {stage['planned']} planned = {counts or 'none'}")
    for reason, count in summary["left_out"].items():
        lines.append(f"- left out: {count} × {reason}")
    return lines
