"""The README.md of both datasets of a run of revisions, in the form the Hugging Face Hub reads."""

from typing import Any

from rlaif.settings import Settings

_HEAD = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path: "*.parquet"
task_categories:
- text-generation
tags:
- rlaif
- constitutional-ai
- synthetic
---
"""


def examples_card(summary: dict[str, Any], settings: Settings) -> str:
    return "\n".join(
        [
            _HEAD,
            f"# Revised answers: {settings.name}",
            "",
            f"{summary['examples']} prompts with the last revision of a first answer, for supervised fine-tuning"
            " (TRL's prompt-completion form).",
            *_origin(summary, settings),
            "",
            "A revision is not better because it is one: `probability` is P(it is better than the original) by the"
            f" judge. {_kept(settings.revision.min_probability)} `lineage` has every round: principle, critique,"
            " answer, and the keys of the stored results. Answers that were not changed in the end are not in here.",
            "",
            *_preferences(summary),
            *_books(summary),
        ]
    )


def pairs_card(summary: dict[str, Any], settings: Settings) -> str:
    judges = " + ".join(one.model for one in settings.judges_in_order())
    return "\n".join(
        [
            _HEAD.replace("- rlaif\n", "- rlaif\n- preference\n"),
            f"# Revisions against their originals: {settings.name}",
            "",
            f"{summary['pairs']} pairs of a revision and the first answer it goes back to, judged by"
            f" {judges} like any pair of answers: in {summary['pairs_with_revision_chosen']} of them the"
            " revision is the chosen one (`is_revision_chosen`).",
            *_origin(summary, settings),
            "",
            "Columns as in the datasets of `rlaif generate`, and `round`, `principle` (drawn for it) and `lineage`.",
            "",
            *_preferences(summary),
            *_books(summary),
        ]
    )


def _kept(least: float) -> str:
    if not least:
        return "All are here, also those it finds worse: filter by it if you want to."
    return f"Those under {least:g} were left out."


def _origin(summary: dict[str, Any], settings: Settings) -> list[str]:
    policies = ", ".join(policy.model for policy in settings.policies)
    writer = settings.revision.model or "the model that answered"
    judges = [one.model for one in settings.judges_in_order()]
    named = [*judges, settings.revision.model or "", *(policy.model for policy in settings.policies)]
    tiny = sorted({name for name in named if name.startswith("tiny-")})
    lines = [
        f"First answers by {policies}; critiques and revisions by {writer}, {settings.revision.rounds} per answer,"
        f" each under one principle of the constitution “{summary['constitution']['name']}”"
        f" (version {summary['constitution']['version']}). Made with rlaif {summary['rlaif']};"
        " no person has checked it."
    ]
    if tiny:
        lines.append(f"{' and '.join(tiny)} are tiny models for trying the software: this data is not for real work.")
    return lines


def _preferences(summary: dict[str, Any]) -> list[str]:
    lines = [
        "## How often the judge prefers the revision",
        "",
        "Shares are of pairs with a verdict, with 95 % intervals (Wilson's, clustered by prompt): by the label of the"
        " whole constitution, and by the drawn principle alone.",
        "",
        "| round | principle drawn | pairs | revision | original | tie | no verdict | share | by that principle |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in summary["preferences"]:
        own, drawn = row["by_label"], row["by_drawn_principle"]
        counts = " | ".join(str(own[name]) for name in ("pairs", "revision", "original", "tie", "no_verdict"))
        lines.append(
            f"| {row['round']} | {row['principle'] or 'all'} | {counts} | {share_text(own)} | {share_text(drawn)} |"
        )
    return [*lines, ""]


def share_text(preference: dict[str, Any]) -> str:
    if preference["share"] is None:
        return "–"
    return f"{preference['share']:.0%} [{preference['low']:.0%}, {preference['high']:.0%}]"


def ends_text(summary: dict[str, Any]) -> str:
    """What became of all answers in the end."""
    ends = [f"{summary['examples']:,} examples", *(f"{n:,} {why}" for why, n in summary["no_examples"].items())]
    return ", ".join(ends)


def _books(summary: dict[str, Any]) -> list[str]:
    lines = ["## How every request and every answer ended", ""]
    for name, stage in summary["stages"].items():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in stage["outcomes"].items() if count)
        lines.append(f"- {name}: {stage['planned']} planned = {counts or 'none'}")
    for row in summary["rounds"]:
        endings = ", ".join(f"{count} {ending}" for ending, count in row["endings"].items())
        lines.append(f"- round {row['round']}: {row['answers']} answers = {endings or 'none'}")
    lines.append(f"- in the end: {summary['answers']} answers = {ends_text(summary)}")
    lines += [f"- left out: {count} × {reason}" for reason, count in summary["left_out"].items()]
    return [*lines, ""]
