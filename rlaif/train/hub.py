"""A trained model's folder on the Hugging Face hub.

The repository is made before the training begins: a name that is taken or a missing permission then costs nothing. The
folder goes up without `training/` (checkpoints and settings with local paths). Tokens are the hub library's own affair
(`hf auth login`, or HF_TOKEN); HF_ENDPOINT names another server.
"""

from pathlib import Path

from rlaif.errors import EngineUnavailable, StoreError
from rlaif.hub_errors import hub_errors

_NOT_SENT = ["training/*", "training/**/*", ".partial/*", ".partial/**/*"]


def make_repository(name: str, *, is_private: bool) -> None:
    """Make the model repository, if there is none; raise EngineUnavailable where the hub refuses."""
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(name, repo_type="model", private=is_private, exist_ok=True)
    except hub_errors() as error:
        raise EngineUnavailable(
            f"the hub repository {name!r} cannot be made: {_first_line(error)}",
            do="Check the network and its name (org/name), log in with `hf auth login`, or leave push_to_hub out.",
        ) from error


def push(folder: Path, name: str) -> str:
    """Send a saved model; files the hub has already are not sent again. Returns the commit's address."""
    from huggingface_hub import HfApi

    try:
        commit = HfApi().upload_folder(
            repo_id=name, folder_path=folder, ignore_patterns=_NOT_SENT, commit_message="Trained with rlaif"
        )
    except hub_errors() as error:
        raise StoreError(
            f"the model is saved, but the hub did not take it: {_first_line(error)}",
            where=str(folder),
            do="The same command sends it again, without training.",
        ) from error
    return str(commit.commit_url)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
