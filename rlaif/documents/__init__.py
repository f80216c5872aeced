"""Documents people write in YAML: read with the place of every value, overridden by flags, checked against a model.

    document = apply_sets(read_yaml(path, SettingsError), ["judge.model=tiny-judge"])
    settings = validate(document, Settings, SettingsError)

Every problem is reported as `file:line:column: what was found. What to do.`, all of a document's problems at once.
"""

from rlaif.documents.document import Document, KeyPath, Place, no_such_file, read_text, read_yaml, write_yaml
from rlaif.documents.editing import set_value
from rlaif.documents.overrides import apply_sets
from rlaif.documents.validation import Problem, path_text, raise_problems, validate

__all__ = [
    "Document",
    "KeyPath",
    "Place",
    "Problem",
    "apply_sets",
    "no_such_file",
    "path_text",
    "raise_problems",
    "read_text",
    "read_yaml",
    "set_value",
    "validate",
    "write_yaml",
]
