"""Which principle: what each of a constitution's principles has to do with people's votes, and what to change.

    reading.py     aligned votes and marks as arrays (`WeightedVotes`)
    figures.py     a principle's figures, every one with its interval
    section.py     `principle_section`: the figures as a report holds them, with a plain sentence
    actions.py     what an edit does to the labels, without a model
    suggest.py     which edits bring the labels nearer to people, measured on prompts that did not choose them
    patch.py       edits as a YAML patch, as a new version of the constitution, and predicted beside actual

Statistics are in `rlaif/numbers`. docs/which-principle.md explains how to read it.
"""
