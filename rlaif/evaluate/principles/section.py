"""The section "which principle" of a comparison: every figure of every principle, and in plain words what they say.

    section = principle_section(alignment.votes, mark_table([ai]), ai="left", constitution=constitution)

For the report of `rlaif compare`: `votes` are those of an `Alignment`, `marks` the rows of `mark_table` of the AI's
files (all raters, all pairs: what was not aligned is left out here).
"""
