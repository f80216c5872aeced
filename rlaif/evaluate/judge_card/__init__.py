"""The judge card: how good the judge in front of you is, principle by principle, with an interval on every figure.

    verdicts.py     what the judge said, as arrays, from a run's labels.parquet or from asking
    figures.py      no answer, position, style: per principle, and over all
    between.py      which principles duplicate each other, which contradict
    families.py     whose family a model is of, and whether that can be told from the rest (`own`)
    people.py       calibration against labels that are known, and effects beyond people's own
    perturb.py      changes to an answer that should change no verdict
    probe_sets.py   pairs to ask about: ours, a run's, or a folder of published probes
    asking.py       putting them to a judge, through the store
    card.py         all of it in one record, with a plain sentence on top
    page.py         the record as one HTML file

Statistics are not here but in `rlaif/numbers`. docs/judge-card.md explains how to read it.
"""
