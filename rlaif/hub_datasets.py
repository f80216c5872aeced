"""Datasets that the `datasets` library loads: of the hub, of a folder of data files, or of what `save_to_disk` wrote.

The library asks a hub that does not answer again and again, half a minute per name, and tells of each attempt. Here the
hub is asked once, first: a name it does not know is an error at once, and where nobody answers, what an earlier load
kept on this machine is taken.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.errors import DataError, Where
from rlaif.hub_errors import hub_errors

_SECONDS = 10.0  # for the hub's answer


def load_dataset(name: str, *, split: str, config: str | None, formats: Sequence[str]) -> Any:
    """One split of a dataset; raise DataError where there is none. `formats` are what files end in, for the message."""
    import datasets

    do = f"Check the name, `split` and `config`; a file ends in {', '.join(formats)}."
    try:
        if (saved := _saved(Path(name), split)) is not None:
            return saved
        if Path(name).exists():
            return datasets.load_dataset(name, config, split=split)
        silence = _silence_of_hub(name)
        if not silence:
            return datasets.load_dataset(name, config, split=split)
        try:
            with _without_hub():
                return datasets.load_dataset(name, config, split=split)
        except ConnectionError as error:
            found = f"there is no such file or folder, nothing kept of a dataset of this name, and the hub {silence}."
            raise DataError(found, where=Where(name), do=do) from error
    except (OSError, ValueError, RuntimeError, LookupError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"the dataset cannot be loaded: {error}", where=Where(name), do=do) from error


def _silence_of_hub(name: str) -> str:
    """Why the hub does not answer, or nothing where it does; raise DataError where its answer is no."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        HfApi().dataset_info(name, timeout=_SECONDS)
    except RepositoryNotFoundError as error:
        raise DataError(
            "there is no such file or folder, and on the hub no such dataset, or none that you may see.",
            where=Where(name),
            do="Check the name; where the dataset is private, log in with `hf auth login` or set HF_TOKEN.",
        ) from error
    except (HfHubHTTPError, HFValidationError):
        return ""  # it answers, or no dataset can have this name; what is wrong, loading will say
    except OfflineModeIsEnabled:
        return "is not asked, because HF_HUB_OFFLINE is set"
    except hub_errors() as error:
        return f"cannot be reached: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return ""


@contextmanager
def _without_hub() -> Iterator[None]:
    """As with HF_HUB_OFFLINE, which both libraries read only when they are imported."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def _saved(folder: Path, split: str) -> Any:
    """What `save_to_disk` of datasets wrote, a dataset or splits of one; None for anything else."""
    import datasets

    if not any((folder / file).is_file() for file in ("state.json", "dataset_dict.json")):
        return None
    found = datasets.load_from_disk(str(folder))
    if not isinstance(found, datasets.DatasetDict):
        return found
    if split not in found:
        raise ValueError(f"the splits are {', '.join(found)}; there is no {split!r}")
    return found[split]
