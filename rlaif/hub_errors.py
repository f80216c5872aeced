"""What the Hugging Face hub's library raises when the hub refuses or cannot be reached: its own classes, and those of
its HTTP client, which is another one from version to version."""

from importlib import import_module
from importlib.util import find_spec

_CLIENTS = ("httpx2", "httpx")  # older ones use requests, whose errors are OSErrors


def hub_errors() -> tuple[type[Exception], ...]:
    """Classes for an `except`; the library is loaded here, and not before."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
    )

    clients = [import_module(name).HTTPError for name in _CLIENTS if find_spec(name)]
    return (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, LocalTokenNotFoundError, OSError, *clients)
