"""Blind labelling without the page: which pairs are drawn, what each rater is asked in which order, and the votes.

    candidates = read_candidates(Path("outputs/runs/quickstart"))   # pairs, and what their judge said of them
    folder = VotesFolder(Path("labels.jsonl"))                      # labels.jsonl, and labels.jsonl.votes/ beside it
    design = folder.design(Wish(draw="unsure", pairs=300), candidates)
    sitting = folder.sitting("ann", candidates, design)             # a rater's questions, and the journal of the votes
    sitting.vote(sitting.current.id, Answer(choice="first"))

What the judge said decides which pairs are drawn and nothing after that: a `Question` does not hold it. The page that
shows questions is `rlaif/pages/label`; docs/labelling.md explains the whole.
"""
