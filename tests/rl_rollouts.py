"""What the training forward says of sampled answers: the witness of every sampler's log-probabilities."""

import torch

from rlaif.train.forward import head_of, hidden_states
from rlaif.train.head import token_logprobs
from rlaif.train.packing import pack


@torch.no_grad()
def learner_logprobs(model, rollouts, temperature=1.0):
    """(T,) for each rollout, under logits / temperature."""
    batch = pack([(one.sequence(),) for one in rollouts])
    head = head_of(model)
    assert head.softcap is None
    cooled = type(head)(head.weight, head.bias, head.scale / temperature)
    found = token_logprobs(hidden_states(model, batch)[batch.rows], cooled, batch.targets).logprobs
    return torch.split(found, batch.lengths.tolist())
