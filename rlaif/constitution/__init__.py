"""What a good answer is, as people write it down: principles in YAML, strictly read.

    constitution = load_constitution("constitution/default.yaml")
    for principle in constitution.for_tags(prompt.tags): ...

The schema is explained in constitution/README.md. Here it is read (`loading`), compared with another (`changes`) and
looked over for likely mistakes (`lint`). Nothing here asks a model.
"""

from rlaif.constitution.changes import Change, Cost, diff, principles_to_judge, principles_to_score
from rlaif.constitution.lint import Finding, lint
from rlaif.constitution.loading import dump_constitution, load_constitution, read_constitution, source_files
from rlaif.constitution.principles import Constitution, Example, Prediction, Principle, PrincipleTest, json_schema

__all__ = [
    "Change",
    "Constitution",
    "Cost",
    "Example",
    "Finding",
    "Prediction",
    "Principle",
    "PrincipleTest",
    "diff",
    "dump_constitution",
    "json_schema",
    "lint",
    "load_constitution",
    "principles_to_judge",
    "principles_to_score",
    "read_constitution",
    "source_files",
]
