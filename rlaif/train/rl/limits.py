"""How long an answer may become: what is asked for, or what the model's context leaves after the prompt."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif.errors import InputError
from rlaif.train.packing import Ids


def answer_limits(prompts: Sequence[Ids], max_new_tokens: int, config: Any) -> NDArray[np.int64]:
    """Tokens each answer may have, at least one. Raises InputError for a prompt that is empty or fills the context."""
    lengths = np.array([len(prompt) for prompt in prompts])
    if not lengths.all():
        raise InputError(f"prompt {int(lengths.argmin())} has no tokens.", do="Give every prompt at least one token.")
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    if context is None:
        return np.full(len(lengths), max_new_tokens)
    if lengths.max() >= context:
        longest = int(lengths.argmax())
        raise InputError(
            f"prompt {longest} has {lengths[longest]} tokens; the model reads at most {context}, its answer included.",
            do="Shorten the prompt or leave it out.",
        )
    limits: NDArray[np.int64] = np.minimum(max_new_tokens, context - lengths)
    return limits
