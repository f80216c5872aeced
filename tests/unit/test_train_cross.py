"""Every speed and memory option with every method: the numbers are those of the plain path.

The plain path: one padded row per answer, all rows in one pass, whole logits in one chunk, nothing recomputed. Each
method then runs through option sets in which every value of every option meets every value of every other one.
"""

import itertools
import json
from dataclasses import replace

import pytest
import torch
import transformers

from rlaif.train.dpo import DpoTask
from rlaif.train.examples import Comparison, TrainingRow
from rlaif.train.forward import LogprobModel, RewardModel
from rlaif.train.heads import Heads
from rlaif.train.kto import KtoTask, choose_partners, with_mismatched
from rlaif.train.loop import train
from rlaif.train.reference import reference_sums
from rlaif.train.reward import RewardTask
from rlaif.train.settings import WITHOUT_REFERENCE
from rlaif.train.sft import SftTask
from rlaif.train.task import Layout
from tests.train_models import double_llama, llama, sequence
from tests.unit.test_train_loop import dpo_settings, loop_settings, some_rows

torch.set_num_threads(1)
DPO = {
    "sigmoid": {},
    "sigmoid + sft": {"loss": "sigmoid", "sft_weight": 0.3},
    "length-normalised": {"loss": "sigmoid", "length_normalised": True, "beta": 2.0},
    "conservative": {},
    "robust": {},
    "ipo": {},
    "hinge": {},
    "simpo": {"beta": 2.0},
    "orpo": {},
    "kto": {"sft_weight": 0.1},
}
HEADS = Heads(("kind", "brief"), members=2)
METHODS = ["sft", "reward", "reward, ranked", "reward, heads", *DPO]
OPTIONS = {
    "packing": ("off", "shared", "packed"),
    "multiple_of": (1, 32),
    "chunk_rows": (256, 3),
    "micro_batch_tokens": (10_000, 30),
    "checkpointing": (False, True),
    "lora": (False, True),
    "kept_reference": (False, True),
}
PLAIN = {name: values[0] for name, values in OPTIONS.items()}


def covering(options):
    """Few sets in which every two values of two options meet: greedy, the same every time."""
    everything = [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]
    wanted = {pair for one in everything for pair in pairs_of(one)}
    chosen = []
    while wanted:
        best = max(everything, key=lambda one: len(wanted & pairs_of(one)))
        chosen.append(best)
        wanted -= pairs_of(best)
    return chosen


def pairs_of(one):
    return set(itertools.combinations(sorted((name, str(value)) for name, value in one.items()), 2))


def training_rows(method):
    rows = [
        replace(row, principles={"kind": 0.8, **({"brief": 0.3} if n % 2 else {})})
        for n, row in enumerate(some_rows(4))
    ]
    if method == "reward, ranked":
        third = [sequence(row.family[0].ids[:1], [30 + number, 31]) for number, row in enumerate(rows)]
        pairs = [Comparison(first=a, second=b, weight=w) for a, b, w in ((0, 1, 1.0), (2, 0, 0.5), (1, 2, 2.0))]
        return [
            TrainingRow(
                family=(*row.family, one),
                comparisons=tuple(pairs[: 1 + n % 3]),
                weight=sum(p.weight for p in pairs[: 1 + n % 3]),
            )
            for n, (row, one) in enumerate(zip(rows, third, strict=True))
        ]
    return [replace(row, family=row.family[:1]) for row in rows] if method in ("sft", "kto") else rows


def with_lora(model, kind):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    heads = ["score"] if kind == "SEQ_CLS" else None
    config = LoraConfig(task_type=kind, r=2, target_modules=["q_proj", "down_proj"], modules_to_save=heads)
    return get_peft_model(model, config).to(model.dtype)


def build(method, options, cache, make=double_llama):
    """The method's task and a fresh model, as the options say."""
    layout = Layout(options["packing"], options["multiple_of"])
    rows = training_rows(method)
    is_reward = method.startswith("reward")
    heads = HEADS if method == "reward, heads" else Heads()
    more = {"kind": transformers.LlamaForSequenceClassification, "num_labels": heads.num_outputs} if is_reward else {}
    model = make(**more)
    if options["checkpointing"]:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if options["lora"]:
        model = with_lora(model, "SEQ_CLS" if is_reward else "CAUSAL_LM")
    if is_reward:
        return RewardTask(rows, layout, use_margin=True, centring=0.01, heads=heads), RewardModel(model)
    module = LogprobModel(model, chunk_rows=options["chunk_rows"])
    if method == "sft":
        return SftTask(rows, layout), module
    settings = dpo_settings(**{"loss": method, **DPO[method]})
    both = with_mismatched(rows, choose_partners(rows), settings.max_length) if method == "kto" else rows
    reference = None
    if settings.loss not in WITHOUT_REFERENCE:
        where = cache if options["kept_reference"] else None
        reference = reference_sums(LogprobModel(make(seed=1)), both, layout, options["micro_batch_tokens"], cache=where)
    if method == "kto":
        return KtoTask(rows, layout, settings, reference), module
    return DpoTask(rows, layout, settings, reference), module


def trained(method, options, folder, cache, *, make=double_llama, steps=2, **changes):
    """Weights after two steps, and every figure on the way."""
    task, module = build(method, options, cache, make)
    settings = loop_settings(batch_size=2, max_steps=steps, micro_batch_tokens=options["micro_batch_tokens"], **changes)
    train(task, module, settings, folder=folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    weights = torch.cat([one.detach().flatten() for one in module.parameters() if one.requires_grad])
    return weights, lines


SETS = covering(OPTIONS)


def test_the_option_sets_hold_every_two_values_of_two_options():
    met = {pair for one in SETS for pair in pairs_of(one)}
    for (one, values), (other, others) in itertools.combinations(sorted(OPTIONS.items()), 2):
        for value, second in itertools.product(values, others):
            assert ((one, str(value)), (other, str(second))) in met
    assert len(SETS) < 12


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_option_gives_the_numbers_of_the_plain_path(method, tmp_path):
    cache = tmp_path / "kept"
    plain = {
        lora: trained(method, {**PLAIN, "lora": lora}, tmp_path / f"plain-{lora}", cache) for lora in (False, True)
    }
    for number, options in enumerate(SETS):
        weights, lines = trained(method, options, tmp_path / str(number), cache)
        wanted, wanted_lines = plain[options["lora"]]
        assert (weights - wanted).abs().max() < 1e-10, options
        for line, expected in zip(lines, wanted_lines, strict=True):
            assert line == {name: pytest.approx(value, rel=1e-8, abs=1e-9) for name, value in expected.items()}, options


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_bf16_is_near_float32_whatever_the_layout(method, tmp_path):
    """The first loss is that of the same weights: it may differ by a few roundings of the products to 2^-8."""
    _, exact = trained(method, PLAIN, tmp_path / "exact", None, make=llama, steps=1)
    for packing, multiple in (("shared", 128), ("off", 1)):
        options = {**PLAIN, "packing": packing, "multiple_of": multiple, "checkpointing": packing == "shared"}
        weights, lines = trained(method, options, tmp_path / packing, None, make=llama, steps=1, precision="bf16")
        assert weights.dtype == torch.float32
        assert torch.isfinite(weights).all()
        assert lines[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.05, abs=0.05), packing
        assert lines[0]["grad_norm"] == pytest.approx(exact[0]["grad_norm"], rel=0.15), packing
