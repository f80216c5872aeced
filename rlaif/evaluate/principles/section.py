"""The section "which principle" of a comparison: every figure of every principle, and in plain words what they say.

    section = principle_section(compared, judge="tiny-judge", constitution=constitution, floor=0.01, kind="soft")

`compared` is a `rlaif.evaluate.comparison.compared.Compared`, `judge` the name of one of its judges; {} where it has no
marks. `constitution` (the run's, or None), `floor` (`pairs.probability_floor`) and `kind` (`label.kind`) are those its
labels were made with. A figure is `{"value", "low", "high", "n", "clusters"}`, or null with `because`:

    {
      "pairs", "prompts": counts, "people": "human" | "simulated" | "human and simulated",
      "agreement": figure of the label made again from its principles, ties at one half,
      "principles": {name: {"weight": number, "opinion", "agreement", "kappa", "strength", "drop_one", "worth",
                            "label_share", "disagreement_share", "people_weight", "judge_weight": figures,
                            "kept": whether the L1 penalty keeps it for people, null where not defined}},
      "order": [names, the one that costs most agreement first],
      "shapley": {"method": "exact" | "sampled", "orders", "error": of the largest},
      "prediction": {"predicted", "actual": figures, "sentence"} or null: of a constitution made by `suggest --apply`,
      "sentence": which principle, in plain words, "notes": [what a reader should know]
    }
"""
