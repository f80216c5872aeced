"""`rlaif revise`: answers criticised and written anew under drawn principles, as in the supervised phase of
Constitutional AI (arXiv:2212.08073, section 3), and judged again.

    draw.py     which principle a round is about, and what is asked under it
    rounds.py   what a round asks: critiques of answers, then revisions; and their keys
    block.py    some prompts on the road from first answers over rounds to judged pairs
    revise.py   the models' work, block after block
    examples.py which revisions become examples to fine-tune on
    figures.py  how every request and answer ended, and how often the judge prefers a revision
    rows.py     the rows of both datasets, and their cards
    run.py      a run from its settings to its folder
    plan.py     what a run would ask
"""
