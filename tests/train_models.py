"""Small models of random weights for the trainers' tests, and sequences for them to read.

In float64 every norm has to compute in float64 too, where transformers' Llama casts to float32 inside: only then do
equal results differ by rounding of 1e-16 and not by 1e-7. `double_llama` swaps the norm modules for torch's own.
"""

import numpy as np
import torch
import transformers

from rlaif.train.forward import prepare_model
from rlaif.train.packing import TokenSequence

VOCABULARY = 50
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def randomise(model, seed=0, scale=0.3):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return model


def llama(seed=0, dtype=torch.float32, kind=transformers.LlamaForCausalLM, scale=0.3, **changes):
    model = randomise(kind(transformers.LlamaConfig(**{**SIZES, **changes})), seed, scale).to(dtype)
    return prepare_model(model.eval())


def double_llama(seed=0, kind=transformers.LlamaForCausalLM, **changes):
    model = randomise(kind(transformers.LlamaConfig(**{**SIZES, **changes})), seed).double()
    for name, module in list(model.named_modules()):
        if type(module).__name__ == "LlamaRMSNorm":
            norm = torch.nn.RMSNorm(len(module.weight), eps=module.variance_epsilon, dtype=torch.float64)
            model.set_submodule(name, norm)
    return prepare_model(model.eval())


def double_gpt2(seed=0):
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=16,
        n_layer=2,
        n_head=4,
        n_positions=128,
        bos_token_id=1,
        eos_token_id=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return prepare_model(randomise(transformers.GPT2LMHeadModel(config), seed).double().eval())


def sequence(prompt, answer):
    ids = np.array([*prompt, *answer], dtype=np.int64)
    return TokenSequence(ids, np.arange(len(ids)) >= len(prompt))


def random_pairs(count, seed=0, *, prompt=(1, 12), answer=(1, 10)):
    """Pairs of answers to a shared prompt, of random lengths; some answers begin alike."""
    draw = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        asked = draw.integers(3, VOCABULARY, draw.integers(*prompt, endpoint=True))
        answers = [draw.integers(3, VOCABULARY, draw.integers(*answer, endpoint=True)) for _ in range(2)]
        if number % 3 == 0:
            answers[1] = np.concatenate([answers[0][:2], answers[1]])
        pairs.append(tuple(sequence(asked, one) for one in answers))
    return pairs
