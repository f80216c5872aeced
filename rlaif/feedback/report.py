"""What a run says of itself: the figures of `run.json`, and the dataset card. Pure functions of the run's result.

No time and no machine is in them, so equal results give equal bytes; how long things took is in `timings.json`.
"""

import math
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

from rlaif import __version__
from rlaif.constitution import Constitution
from rlaif.feedback.counts import RunCount, most_first
from rlaif.feedback.critique import deciding_principle
from rlaif.feedback.road import Block, Road
from rlaif.settings import CleaningSettings, Settings


@dataclass
class Figures:
    """What a run's blocks add up to."""

    count: RunCount = field(default_factory=RunCount)
    pairs: int = 0
    labelled_pairs: int = 0
    scored_by_continuation: int = 0
    heard: Counter[str] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    order_decided: Counter[str] = field(default_factory=Counter)
    near_ties: Counter[str] = field(default_factory=Counter)
    leading: Counter[str] = field(default_factory=Counter)
    against: Counter[str] = field(default_factory=Counter)
    uncovered: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    uncovered_judgments: Counter[str] = field(default_factory=Counter)
    scores: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    scored: Counter[str] = field(default_factory=Counter)

    def add(self, block: Block) -> None:
        self.count.add(block)
        self.pairs += len(block.pairs)
        self.labelled_pairs += len(block.labelled)
        self.leading.update(deciding_principle(pair) for pair in block.pairs)
        self.against.update(name for pair in block.pairs for name, share in pair.shares.items() if share < 0)
        for label in block.labelled:
            for verdict in label.verdicts:
                self.heard[verdict.principle_id] += verdict.probability is not None
                self.silent[verdict.principle_id] += verdict.probability is None
                self.order_decided[verdict.principle_id] += verdict.is_order_decided
                self.near_ties[verdict.principle_id] += verdict.is_near_tie and not verdict.is_order_decided
        self._add_judgments(block)

    def _add_judgments(self, block: Block) -> None:
        uncovered: defaultdict[str, list[float]] = defaultdict(list)
        for judgment in (one for heard in block.heard for own in heard.judgments.values() for one in own):
            self.scored_by_continuation += judgment.choice_method == "continuation"
            if judgment.uncovered is not None:
                uncovered[judgment.principle_id].append(judgment.uncovered)
        scores: defaultdict[str, list[float]] = defaultdict(list)
        for score in (one for heard in block.heard for one in heard.scores.values()):
            self.scored_by_continuation += score.choice_method == "continuation"
            if score.uncovered is not None:
                uncovered[score.principle_id].append(score.uncovered)
            if score.mean is not None:
                scores[score.principle_id].append(score.mean)
        for name, own in scores.items():
            self.scores[name].append(math.fsum(own))
            self.scored[name] += len(own)
        for name, own in uncovered.items():
            self.uncovered[name].append(math.fsum(own))
            self.uncovered_judgments[name] += len(own)


def summarise(figures: Figures, road: Road) -> dict[str, Any]:
    """The run's figures as plain JSON."""
    constitution, models = road.constitution, road.models
    return {
        "name": road.settings.name,
        "rlaif": __version__,
        "constitution": {"name": constitution.name, "version": constitution.version},
        "judge": asdict(models.judge.identity),
        **({"other_judges": [asdict(one.identity) for one in models.others]} if models.others else {}),
        "policies": [asdict(model.identity) for model in models.policies],
        "pairs": figures.pairs,
        "labelled_pairs": figures.labelled_pairs,
        "stages": {name: asdict(stage) for name, stage in figures.count.stages().items()},
        "left_out": most_first(figures.count.left_out),
        "found_and_kept": {
            reason: count for reason, count in most_first(figures.count.found_and_kept).items() if count
        },
        "principles": _principles(figures, constitution),
        "scored_by_continuation": figures.scored_by_continuation,
        "unanswered": [
            {"prompt_id": one.prompt.id, "prompt": one.prompt.messages[-1].content[:80], "reason": one.reason}
            for one in figures.count.unanswered
        ],
    }


def _principles(figures: Figures, constitution: Constitution) -> list[dict[str, Any]]:
    """Each principle's part: how often it was heard, found the answers alike, was overruled by their order, and leads
    or opposes the label of a dataset pair; and how much probability the judge put outside the choices."""
    return [
        {
            "id": principle.id,
            "weight": principle.weight,
            "judged_pairs": figures.heard[principle.id],
            "silent_pairs": figures.silent[principle.id],
            "near_ties": figures.near_ties[principle.id],
            "near_tie_share": _share(figures.near_ties[principle.id], figures.heard[principle.id]),
            "order_decided": figures.order_decided[principle.id],
            "order_decided_share": _share(figures.order_decided[principle.id], figures.heard[principle.id]),
            "mean_uncovered": _share(
                math.fsum(figures.uncovered[principle.id]), figures.uncovered_judgments[principle.id]
            ),
            "leads_pairs": figures.leading[principle.id],
            "against_pairs": figures.against[principle.id],
            **_mean_score(figures, principle.id),
        }
        for principle in constitution.enabled
    ]


def _mean_score(figures: Figures, name: str) -> dict[str, Any]:
    """The mean score of the answers, in a mode that scores them."""
    scored = figures.scored[name]
    return {"mean_score": math.fsum(figures.scores[name]) / scored, "scored_answers": scored} if scored else {}


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def dataset_card(summary: dict[str, Any], settings: Settings, constitution: Constitution) -> str:
    """The README.md of the dataset folder, in the form the Hugging Face Hub reads."""
    judges, policies = _judges(settings), ", ".join(policy.model for policy in settings.policies)
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
        f"{summary['pairs']} pairs of answers by {policies}, compared by {judges} under the constitution"
        f" “{constitution.name}” (version {constitution.version}), made with rlaif {summary['rlaif']}.",
        "The labels are a model's, not people's: how far they agree with people has to be measured before they are"
        " trusted.",
    ]
    judged_by = [judge.model for judge in settings.judges_in_order()]
    models = dict.fromkeys([*judged_by, *(policy.model for policy in settings.policies)])
    tiny = [name for name in models if name.startswith("tiny-")]
    if tiny:
        lines.append(f"{' and '.join(tiny)} are tiny models for trying the software: this data is not for real work.")
    lines += [
        "",
        *_principle_table(summary, constitution, settings.judge.mode),
        "",
        *_columns(settings),
        "",
        *_prompts(summary["prompts"], settings.cleaning),
        "",
        *_outcomes(summary),
        "",
    ]
    return "\n".join(lines)


def _judges(settings: Settings) -> str:
    """Who compared, and how several became one."""
    names = [judge.model for judge in settings.judges_in_order()]
    if len(names) == 1:
        return f"the judge model {names[0]}"
    pool = {"mean": "mean of log-odds", "majority": "majority", "last": "the last one asked"}[settings.judges.pool]
    how = f"a {settings.judges.ask} of the judge models {', '.join(names)} (pool: {pool}"
    is_cascade = settings.judges.ask == "cascade"
    return how + (f"; passed on up to |p - 0.5| = {settings.judges.threshold:g})" if is_cascade else ")")


_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (float("inf"), "n>1M"),
)


_HOW = {
    "verdict": "Every pair was judged under each principle in both orders, and the two averaged.",
    "reasoned": "Every pair was judged under each principle in both orders, each after reasons in words, and the two"
    " averaged.",
    "score": "Every answer was scored by itself under each principle; a pair's probability is that of the higher"
    " score.",
}


def _principle_table(summary: dict[str, Any], constitution: Constitution, mode: str) -> list[str]:
    texts = {principle.id: principle.text for principle in constitution.principles}
    how = _HOW[mode]
    if any(principle.check for principle in constitution.enabled):
        how += " A principle with a check was computed from each answer alone."
    lines = [
        "## Principles",
        "",
        f"{how} `alike`: the share of pairs"
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
    lines += [f"- found and kept: {count} × {reason}" for reason, count in summary["found_and_kept"].items()]
    return lines


def _prompts(prompts: dict[str, Any], cleaning: CleaningSettings) -> list[str]:
    """Where every row of the prompt sets went, and what was looked for in them."""
    lines = ["## Prompts", "", f"- {prompts['rows']} rows read, {prompts['used']} prompts used"]
    lines += [f"- left out: {count} × {reason}" for reason, count in prompts["left_out"].items()]
    lines += [f"- found and kept: {count} × {reason}" for reason, count in prompts["found_and_kept"].items()]
    if cleaning.near_duplicate_prompts == "off":
        lines.append("- nobody looked for near-duplicates")
    else:
        lines.append(f"- near-duplicate: {cleaning.likeness:.0%} or more of the runs of three words are shared")
    if not cleaning.benchmarks:
        return [*lines, "- compared with no benchmark"]
    return [
        *lines,
        f"- in a benchmark: a run of {cleaning.run_words} words, a shorter text whole; compared with"
        f" {', '.join(cleaning.benchmarks)}: {prompts['benchmark_texts']} texts, {prompts['benchmark_texts_too_short']}"
        " of them too short to be looked for",
    ]
