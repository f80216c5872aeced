"""What the tests of reinforcement learning share: a slow sampler that is right to read, tiny policies, and a learner on
them.

`SlowSampler` draws token by token from the whole sequence's logits, one answer at a time, by the inverse of the
cumulative distribution and a random number per token of the answer's own seed. It is the witness beside faster ones.
"""

import numpy as np
import torch

from rlaif.train.packing import TokenSequence, pad
from rlaif.train.rl.decode import DecodeSampler
from rlaif.train.rl.learner import Learner
from rlaif.train.rl.policy import PolicyModel, Reference, value_head
from rlaif.train.rl.prompts import plain_prompt
from rlaif.train.rl.rewards import from_function
from rlaif.train.rl.rollouts import Rollout
from rlaif.train.rl.settings import GrpoSettings, PpoSettings
from tests.train_models import VOCABULARY, llama

END = 2


class SlowSampler:
    """The policy's own logits, position by position."""

    def __init__(self):
        self.model, self.updates = None, 0

    def update(self, module):
        self.model, self.updates = module, self.updates + 1

    def close(self):
        pass

    @torch.no_grad()
    def sample(self, prompts, seeds, how):
        return [self.answer(prompt, seed, how) for prompt, seed in zip(prompts, seeds, strict=True)]

    def answer(self, prompt, seed, how):
        draw = np.random.default_rng(seed)
        ids, logprobs = list(prompt), []
        while len(logprobs) < how.max_new_tokens:
            batch = pad([(TokenSequence(np.array(ids), np.zeros(len(ids), dtype=bool)),)])
            logits = self.model(input_ids=batch.ids, use_cache=False).logits[0, -1].double() / how.temperature
            shares = logits.log_softmax(-1)
            place = int(torch.searchsorted(shares.exp().cumsum(0), draw.random()))
            token = min(place, len(shares) - 1)
            ids.append(token)
            logprobs.append(float(shares[token]))
            if token in how.stop_ids:
                break
        answer = np.array(ids[len(prompt) :], dtype=np.int64)
        ended = bool(answer[-1] in how.stop_ids)
        return Rollout(np.asarray(prompt), answer, np.array(logprobs, dtype=np.float32), ended)


def some_prompts(count=6, seed=0):
    draw = np.random.default_rng(seed)
    return [plain_prompt(f"prompt {n}", draw.integers(3, VOCABULARY, draw.integers(2, 7))) for n in range(count)]


def count_of_sevens(answers):
    """A reward that is easily learnt: more of token 7."""
    return [float((one.rollout.answer == 7).sum()) - 0.1 * len(one.rollout.answer) for one in answers]


BASE = {"model": "m", "output": "o", "prompts": [{"path": "p"}], "reward": [{"kind": "end"}], "max_length": 64}


def ppo(**changes):
    defaults = {
        "value": "shared",
        "iterations": 3,
        "epochs": 2,
        "minibatches": 2,
        "rollout": {"prompts": 6, "max_new_tokens": 6},
        "loop": {"micro_batch_tokens": 40, "save_every": 1, "optimiser": {"learning_rate": 0.01, "epsilon": 1e-4}},
    }
    return PpoSettings(**{**BASE, **defaults, **changes})


def grpo(**changes):
    defaults = {
        "iterations": 3,
        "minibatches": 2,
        "rollout": {"prompts": 4, "group_size": 3, "max_new_tokens": 6},
        "loop": {"micro_batch_tokens": 40, "save_every": 1, "optimiser": {"learning_rate": 0.01, "epsilon": 1e-4}},
    }
    return GrpoSettings(**{**BASE, **defaults, **changes})


def decode(ids):
    return " ".join(map(str, ids))


def make_learner(settings, folder, *, make=llama, reward=None, prompts=None, sampler=None, reference=None, **more):
    """A learner on a random little Llama whose reference is its own start."""
    model = make()
    value = value_head(model) if isinstance(settings, PpoSettings) else None
    if value is not None:
        value = value.to(next(model.parameters()).dtype)
    policy = PolicyModel(model, value=value, temperature=settings.rollout.temperature)
    return Learner(
        policy,
        reference or Reference(make()),
        prompts or some_prompts(),
        sampler or (DecodeSampler(model) if model.dtype == torch.float32 else SlowSampler()),
        reward or from_function("sevens", count_of_sevens),
        settings,
        decode=decode,
        stop_ids=(END,),
        folder=folder,
        **more,
    )
