"""Which principle: what each of a constitution's principles has to do with people's votes, and what to change.

    made.py        what labels were made with, and the votes of their principles as arrays
    section.py     `principle_section`: every figure of every principle as a report holds it, with a plain sentence
    actions.py     what an edit does to the labels, without a model
    suggest.py     which edits bring the labels nearer to people, measured on prompts that did not choose them
    patch.py       edits as a YAML patch, and as a new version of the constitution
    prediction.py  what was predicted beside what came of it
    tables.py      the section as tables, for terminal and Markdown
    words.py       figures in words

Statistics are in `rlaif/numbers`. docs/which-principle.md explains how to read it.
"""
