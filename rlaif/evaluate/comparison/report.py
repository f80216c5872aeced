"""The report: everything that these labels tell, as one JSON-able dict. Same votes and terms, same bytes.

A *figure* is `{"value", "low", "high", "n", "clusters"}`, a 95 % interval that knows that pairs share prompts; where
something is missing it is null and `because` says why. Raters' names are people's, then judges', then MAJORITY.

    {
      "format": "rlaif-compare/1",
      "terms": {"ties", "tie_width", "skipped", "epsilon", "num_resamples", "seed"},
      "compared": {"things", "pairs", "prompts", "people", "judges", "as_listed"},
      "left_out": {"unmatched" | "duplicates" | "contradictions": {"people": count, "judges": count, "first": [rows]}},
      "sentences": {"as_people_agree", "where_not", "which_principle", "what_to_change", "how_sure": one sentence each},
      "raters": [{"name", "kind", "labels", "first", "tie", "second", "skipped", "prefers_longer": figure,
                  "effects": {"position" | style: figure}, "excess": {the same, judges only}}],
      "rater_pairs": {"A / B": {"raters": [A, B], "agreement" | "cohen_kappa" | "krippendorff_alpha" | "gwet_ac1" |
                      "accuracy" | "precision" | "recall" | "f1" | "precision/first" | …: figure}},
                      (precision and so on are of the second against the first, who is people where one is)
      "people": {"agreement" | "krippendorff_alpha" | "fleiss_kappa" | "gwet_ac1" | …: figure},
      "consensus": {"raters": {name: {"labels", "accuracy", "confusion"}}, "prior", …} or {"because"},
      "judges": {NAME: {
        "ceiling": {"judge", "human", "excess": figure},
        "advantage": figure, "worth_people": figure,
        "alternative": {"passes", "winning_rate", "epsilon", "people": {name: {…}}} or {"because"},
        "calibration": {"ece" | "ece_debiased" | "brier" | … | "log_loss_least": figure,
                        "bins": [{"said": figure, "came": figure}]},
        "recalibration": {"isotonic" | "platt": {"log_loss" | "ece_debiased" | "brier": figure, "gain": figure}},
        "position": {"swap_consistency" | "same_position" | …: figure},
        "slices": {"tag" | "source" | "length" | "confidence":
                   [{"name", "agreement", "human", "difference": figure, "p_adjusted", "is_lower"}]},
        "prediction_powered": {what: {"together", "people": figure, "power", "num_human", "num_judge_only",
                               "worth_labels"} or {"because"}},
        "principles": {…}: `principles.py`'s own, {} where no mark says anything of principles,
        "per_pair": {"pair", "item", "prompt", "right", "probability": lists as long as `things`}}},
      "models": {…} where asked for,
      "notes": [what a reader should know]
    }

`per_pair` is what a later `rlaif compare diff` needs of it: ids shortened to 16 digits, `right` the share of the people's
majority that the judge's choice hits, null for no verdict.
"""
