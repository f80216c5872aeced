"""All settings of a training as a YAML file to begin with: each with its default and what it means.

text = as_yaml(DpoSettings)      # what is needed stands there without a value
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rlaif.documents import write_yaml

_NEEDED = "needed"


def as_yaml(settings: type[BaseModel]) -> str:
    """A settings file that says nothing but the defaults."""
    return "\n".join(_lines(settings, None, "")) + "\n"


def _lines(kind: type[BaseModel], given: BaseModel | None, indent: str) -> Iterator[str]:
    """One line per setting; `given` holds the values of a part that is there by default."""
    for name, field in kind.model_fields.items():
        value = getattr(given, name) if given is not None else field.get_default(call_default_factory=True)
        about = f"{indent}# {field.description}" if field.description else ""
        if field.is_required() and given is None:
            yield f"{about} ({_NEEDED})"
            yield f"{indent}{name}:"
        elif isinstance(value, BaseModel):
            yield about or f"{indent}# {(type(value).__doc__ or '').strip()}"
            yield f"{indent}{name}:"
            yield from _lines(type(value), value, indent + "  ")
        else:
            yield about + _keys(field)
            yield indent + _written(name, value)


def _keys(field: FieldInfo) -> str:
    """What can be set in a part that is left out by default."""
    parts = [one for one in getattr(field.annotation, "__args__", ()) if isinstance(one, type)]
    kinds = [one for one in parts if issubclass(one, BaseModel)]
    return f" ({', '.join(kinds[0].model_fields)})" if kinds else ""


def _written(name: str, value: Any) -> str:
    if isinstance(value, tuple | list | dict) or value is None:
        return f"{name}: {json.dumps(value)}"
    return write_yaml({name: value}).strip()
