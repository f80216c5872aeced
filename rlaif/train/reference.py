"""The reference's log-probabilities: computed once, before the first step, and kept by content.

    reference_sums(module, rows, layout, budget, cache=folder, precision="float32")     # (rows, sequences) float64

The key of a sum is the model's weights and the sequence: its token ids and which of them are scored. Nothing else can
change it but the precision, which names the file. So another loss, another β, another order or another subset of the
rows computes nothing anew, and a policy that starts as the reference needs no second model in memory.

Forward passes are planned from all rows, cached or not, and written whole: a run that was killed while computing gets
the same numbers to the last bit when it is started again.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rlaif.errors import StoreError
from rlaif.train.batches import divide
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import sum_by_sequence
from rlaif.train.packing import TokenSequence
from rlaif.train.task import Layout, trimmed

_PASSES_PER_WRITE = 64


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of all weights with their names, shapes and types."""
    total = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        total.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode())
        total.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def reference_sums(
    module: nn.Module,
    rows: Sequence[TrainingRow],
    layout: Layout,
    budget: int,
    *,
    cache: Path | None,
    precision: str = "float32",
    device: torch.device | None = None,
) -> NDArray[np.float64]:
    """Log-probability sums in nats of each row's sequences under `module`, from the cache where it has them."""
    rows = trimmed(rows)
    device = device or torch.device("cpu")
    file = None if cache is None else cache / f"{weights_digest(module)[:32]}-{precision}.npz"
    known = _read(file)
    keys = [[_key(one) for one in row.family] for row in rows]
    sizes = [layout.size(row.family) for row in rows]
    (passes,) = divide(range(len(rows)), sizes, budget)
    unwritten = 0
    for part, sums in _missing_sums(module, rows, layout, passes, keys, known, precision, device):
        for row, found in zip(part, sums, strict=True):
            for key, value in zip(keys[row], found, strict=True):
                known.setdefault(key, float(value))
        unwritten += 1
        if unwritten == _PASSES_PER_WRITE:
            _write(file, known)
            unwritten = 0
    if unwritten:
        _write(file, known)
    return np.array([[known[key] for key in of_row] for of_row in keys])


def _missing_sums(
    module: nn.Module,
    rows: Sequence[TrainingRow],
    layout: Layout,
    passes: Sequence[Sequence[int]],
    keys: Sequence[Sequence[bytes]],
    known: Mapping[bytes, float],
    precision: str,
    device: torch.device,
) -> Iterator[tuple[Sequence[int], NDArray[np.float64]]]:
    """The sums of every pass that holds a sequence not yet known."""
    was_training = module.training
    module.eval()
    try:
        for part in passes:
            if all(key in known for row in part for key in keys[row]):
                continue
            batch = layout.batch([rows[row].family for row in part]).to(device)
            is_low = precision == "bf16"
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=is_low):
                sums = sum_by_sequence(module(batch).logprobs, batch)
            yield part, sums.view(len(part), -1).cpu().numpy()
    finally:
        module.train(was_training)


def _key(sequence: TokenSequence) -> bytes:
    content = hashlib.sha256(sequence.ids.tobytes())
    content.update(sequence.scored.tobytes())
    return content.digest()


def _read(file: Path | None) -> dict[bytes, float]:
    if file is None or not file.is_file():
        return {}
    try:
        with np.load(file) as kept:
            return dict(zip((key.tobytes() for key in kept["keys"]), kept["sums"].tolist(), strict=True))
    except (OSError, ValueError, KeyError) as error:
        do = "Remove it; its numbers are computed again."
        raise StoreError(
            f"the kept reference log-probabilities cannot be read: {error}", where=str(file), do=do
        ) from error


def _write(file: Path | None, known: Mapping[bytes, float]) -> None:
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    keys = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(-1, 32)
    with partial.open("wb") as stream:
        np.savez(stream, keys=keys, sums=np.array(list(known.values())))
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)
