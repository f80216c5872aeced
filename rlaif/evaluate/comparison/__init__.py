"""People's labels and a judge's on the same pairs: how far they agree, how sure that is, and where they do not.

    terms.py        how votes are counted: ties, what was skipped, seed
    compared.py     the votes as arrays, thing by thing, with what the answers look like
    gathering.py    from label files and runs to those arrays
    batch.py        many figures from one pass over the resamples
    agreement.py    every two raters; all people; one consensus of them
    beside.py       a judge beside people: the ceiling, the alternative-annotator test, what its vote is worth
    trust.py        its probabilities: calibration, recalibration, what its labels add to people's
    sway.py         place, length, markdown: every rater, and a judge beyond people
    slices.py       where it agrees less: tag, source, length, confidence
    models.py       win rates, strengths and ranks of the models that wrote the answers
    report.py       all of it in one JSON-able record, whose shape stands there
    sentences.py    the answers in plain words
    tables.py, sections.py   the record as tables, for terminal and Markdown
    rows.py         pair by pair, texts and votes: what one reads to understand a disagreement
    diff.py         two judges, or two reports, on the same labels

Statistics are not here but in `rlaif/numbers`. docs/compare.md explains how to read them.
"""
