"""Pair by pair, what everybody said, with the texts: what one reads to understand a disagreement.

    for row in compared_rows(compared, judge, people_files, judge_files): ...

A row is JSON-able, sides in the order that the report counts in (as listed where people saw one order, else by content):

    {"pair_id", "item", "prompt": [{"role", "content"}], "first", "second": the texts, "first_model", "second_model",
     "tags": [...], "source", "length_difference": doublings of characters, first less second,
     "judge": {"rater", "choice", "probability": P(first is better) or null, "confidence": max(p, 1 − p) or null,
               "comment", "critique", "marks": [{"principle", "probability", "shown_first", "shown_second", "weight"}]},
     "people": [{"rater", "choice", "probability", "strength", "comment", "seconds", "marks": [{"principle", "choice"}]}],
     "share": people's share for the first or null, "right": 1, 0, or between where people are split; null: no verdict}

`choice` is first, second, tie, both_bad or skipped. The most confident and wrong come by
`sorted(rows, key=lambda row: (row["right"], -row["judge"]["confidence"]))`.
"""
