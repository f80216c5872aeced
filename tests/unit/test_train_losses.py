"""Every loss and its gradient against a slow version that shares no code with it: NumPy, one token and one logit at a
time, derivatives by complex steps. A complex step of 1e-30 gives derivatives to the last digit without autodiff and
without a difference of two nearly equal numbers: f'(x) = Im f(x + ih) / h.
"""

import decimal
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlaif.train import losses
from rlaif.train.head import Head, token_logprobs

torch.set_num_threads(1)
H = 1e-30
BETA, GAMMA, FLIP, STRENGTH = 0.7, 0.4, 0.15, 0.6


# --- the slow version: plain complex arithmetic on scalars


def log_sigmoid(z):
    return -np.log1p(np.exp(-z)) if z.real > 0 else z - np.log1p(np.exp(z))


def sigmoid(z):
    return np.exp(log_sigmoid(z))


def token_logprob(hidden, weight, target):
    """log softmax(W h)[target], one logit at a time."""
    logits = [sum(w * h for w, h in zip(row, hidden, strict=True)) for row in weight]
    top = max(logit.real for logit in logits)
    return logits[target] - top - np.log(sum(np.exp(logit - top) for logit in logits))


def soft(p, loss, c, r):
    """The expectation over hard labels, spelled out: the row itself, and the row with its answers exchanged."""
    return p * loss(c, r) + (1 - p) * loss(r, c)


class Answer:
    """What the formulas know of an answer: the log-probability of its tokens, their number, the reference's."""

    def __init__(self, logprobs, reference):
        self.sum, self.count, self.reference = sum(logprobs), len(logprobs), reference
        self.mean, self.ratio = self.sum / self.count, self.sum - reference


def hard_dpo(c, r):
    return -log_sigmoid(BETA * (c.ratio - r.ratio))


def hard_relu(z):
    return z if z.real > 0 else 0 * z


def hard_orpo(c, r):
    odds = [np.log(np.exp(a.mean) / (1 - np.exp(a.mean))) for a in (c, r)]
    return -c.mean - STRENGTH * log_sigmoid(odds[0] - odds[1])


SLOW = {
    "dpo": lambda p, c, r: soft(p, hard_dpo, c, r),
    "length-normalised dpo": lambda p, c, r: soft(
        p, lambda a, b: -log_sigmoid(BETA * (a.ratio / a.count - b.ratio / b.count)), c, r
    ),
    "conservative dpo": lambda p, c, r: soft(p, lambda a, b: (1 - FLIP) * hard_dpo(a, b) + FLIP * hard_dpo(b, a), c, r),
    "robust dpo": lambda p, c, r: soft(
        p, lambda a, b: ((1 - FLIP) * hard_dpo(a, b) - FLIP * hard_dpo(b, a)) / (1 - 2 * FLIP), c, r
    ),
    "ipo": lambda p, c, r: soft(p, lambda a, b: (a.ratio - b.ratio - 1 / (2 * BETA)) ** 2, c, r),
    "hinge": lambda p, c, r: soft(p, lambda a, b: hard_relu(1 - BETA * (a.ratio - b.ratio)), c, r),
    "simpo": lambda p, c, r: soft(p, lambda a, b: -log_sigmoid(BETA * (a.mean - b.mean) - GAMMA), c, r),
    "orpo": lambda p, c, r: soft(p, hard_orpo, c, r),
    "kto": lambda p, c, r: (
        p * 1.3 * (1 - sigmoid(BETA * (c.ratio - 0.2))) + (1 - p) * 0.8 * (1 - sigmoid(BETA * (0.2 - c.ratio)))
    ),
    "better answer": lambda p, c, r: soft(p, lambda a, b: -a.mean, c, r),
    "sft": lambda p, c, r: -c.sum,
}


def fast(name, chosen, rejected, p):
    """The same from our functions. `chosen` and `rejected` hold sums, ratios and lengths of a batch."""
    c, r = chosen, rejected
    ratios = (c["ratio"], r["ratio"], p)
    means = (c["sum"] / c["count"], r["sum"] / r["count"], p)
    return {
        "dpo": lambda: losses.dpo(*ratios, beta=BETA),
        "length-normalised dpo": lambda: losses.dpo(c["ratio"] / c["count"], r["ratio"] / r["count"], p, beta=BETA),
        "conservative dpo": lambda: losses.conservative_dpo(*ratios, beta=BETA, flip_rate=FLIP),
        "robust dpo": lambda: losses.robust_dpo(*ratios, beta=BETA, flip_rate=FLIP),
        "ipo": lambda: losses.ipo(*ratios, beta=BETA),
        "hinge": lambda: losses.hinge(*ratios, beta=BETA),
        "simpo": lambda: losses.simpo(*means, beta=BETA, gamma=GAMMA),
        "orpo": lambda: losses.orpo(*means, strength=STRENGTH),
        "kto": lambda: losses.kto(
            c["ratio"], torch.tensor(0.2, dtype=torch.float64), p, beta=BETA, desirable=1.3, undesirable=0.8
        ),
        "better answer": lambda: losses.better_answer(*means),
        "sft": lambda: losses.cross_entropy(c["sum"]),
    }[name]()


@st.composite
def batches(draw):
    """Rows of two answers: lengths, targets, reference log-probabilities, soft labels (with ties), weights."""
    rows = draw(st.integers(1, 3))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    width, vocabulary = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    scale = draw(st.sampled_from([0.1, 1.0, 4.0]))
    counts = [[draw(st.integers(1, 3)) for _ in range(2)] for _ in range(rows)]
    return {
        "hidden": [[random.normal(0, scale, (n, width)) for n in row] for row in counts],
        "targets": [[random.integers(0, vocabulary, n) for n in row] for row in counts],
        "reference": random.normal(-3, 2, (rows, 2)),
        "weight": random.normal(0, 1, (vocabulary, width)),
        "p": [draw(st.sampled_from([0.0, 0.03, 0.5, 0.8, 1.0])) for _ in range(rows)],
        "row_weight": [draw(st.sampled_from([0.25, 1.0, 3.0])) for _ in range(rows)],
    }


def slow_total(name, batch, hidden, weight):
    """The weighted mean of the batch, from scalars."""
    total = 0.0
    for row, p in enumerate(batch["p"]):
        answers = []
        for side in range(2):
            targets = batch["targets"][row][side]
            logprobs = [token_logprob(h, weight, t) for h, t in zip(hidden[row][side], targets, strict=True)]
            answers.append(Answer(logprobs, batch["reference"][row][side]))
        total = total + batch["row_weight"][row] * SLOW[name](p, *answers)
    return total / sum(batch["row_weight"])


def slow_gradients(name, batch):
    """The derivative with respect to every hidden number and every head weight, one complex step each."""
    hidden = [[side.astype(complex) for side in row] for row in batch["hidden"]]
    weight = batch["weight"].astype(complex)
    arrays = [side for row in hidden for side in row] + [weight]
    found = []
    for array in arrays:
        derivative = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            array[place] += 1j * H
            derivative[place] = slow_total(name, batch, hidden, weight).imag / H
            array[place] -= 1j * H
        found.append(derivative)
    return found


def fast_total(name, batch):
    hidden = [torch.tensor(side, requires_grad=True) for row in batch["hidden"] for side in row]
    weight = torch.tensor(batch["weight"], requires_grad=True)
    targets = torch.tensor(np.concatenate([side for row in batch["targets"] for side in row]))
    scores = token_logprobs(torch.cat(hidden), Head(weight), targets, chunk_rows=2).logprobs
    counts = torch.tensor([len(side) for row in batch["targets"] for side in row])
    sums = torch.segment_reduce(scores, "sum", lengths=counts).view(-1, 2)
    ratios, counts = sums - torch.tensor(batch["reference"]), counts.view(-1, 2)
    sides = [{"sum": sums[:, i], "ratio": ratios[:, i], "count": counts[:, i]} for i in range(2)]
    row_weight = torch.tensor(batch["row_weight"], dtype=torch.float64)
    found = fast(name, *sides, torch.tensor(batch["p"], dtype=torch.float64))
    total = losses.weighted_sum(found, row_weight) / row_weight.sum()
    total.backward()
    return total.item(), [one.grad.numpy() for one in hidden] + [weight.grad.numpy()]


def largest_mean(batch):
    """The mean log-probability per token that lies nearest to 0."""
    sides = [(h, t) for row in zip(batch["hidden"], batch["targets"], strict=True) for h, t in zip(*row, strict=True)]
    weight = batch["weight"].astype(complex)
    return max(np.mean([token_logprob(x, weight, t).real for x, t in zip(h, ts, strict=True)]) for h, ts in sides)


def agree(found, wanted):
    return np.abs(found - wanted).max() <= 1e-10 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("name", SLOW)
@settings(max_examples=12, deadline=None)
@given(batch=batches())
def test_a_loss_and_its_gradient_agree_with_the_slow_version(name, batch):
    # the odds of a probability of 1 - 1e-8 hang on the eighth digit of its logarithm, in both versions
    assume(name != "orpo" or largest_mean(batch) < -1e-3)
    value, gradients = fast_total(name, batch)
    assert agree(value, np.real(slow_total(name, batch, batch["hidden"], batch["weight"].astype(complex))))
    for found, wanted in zip(gradients, slow_gradients(name, batch), strict=True):
        assert agree(found, wanted)


finite = st.floats(-30, 30)


@settings(max_examples=100, deadline=None)
@given(finite, finite, st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.floats(0, 3))
def test_the_reward_loss_and_its_gradient_agree_with_the_slow_version(chosen, rejected, p, margin):
    def slow(c, r):
        return soft(p, lambda a, b: -log_sigmoid(a - b - margin), c, r) + 0.01 * (c + r) ** 2

    c, r = (torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (chosen, rejected))
    loss = losses.bradley_terry(
        c, r, torch.tensor([p], dtype=torch.float64), torch.tensor([margin], dtype=torch.float64)
    )
    loss = loss + 0.01 * losses.centring(c, r)
    loss.backward()
    assert agree(loss.item(), slow(complex(chosen), complex(rejected)).real)
    assert agree(c.grad.item(), slow(chosen + 1j * H, complex(rejected)).imag / H)
    assert agree(r.grad.item(), slow(complex(chosen), rejected + 1j * H).imag / H)


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=2, max_size=5), st.integers(0, 99))
def test_ranked_answers_have_instruct_gpts_loss_and_gradient(rewards, seed):
    """-1 / (K choose 2) Σ over pairs log σ(better - worse), arXiv:2203.02155 eq. 1, by two loops over the answers."""
    ranks = np.random.default_rng(seed).permutation(len(rewards))

    def slow(values):
        pairs = [(a, b) for a in range(len(values)) for b in range(len(values)) if ranks[a] < ranks[b]]
        return -sum(log_sigmoid(values[a] - values[b]) for a, b in pairs) / math.comb(len(values), 2)

    at = torch.tensor(rewards, dtype=torch.float64, requires_grad=True)
    order = torch.tensor(np.argsort(ranks))
    better, worse = torch.combinations(order).unbind(dim=1)
    share = torch.full((len(better),), 1 / len(better), dtype=torch.float64)
    loss = losses.weighted_sum(losses.bradley_terry(at[better], at[worse], torch.ones_like(share)), share)
    loss.backward()
    assert agree(loss.item(), slow([complex(one) for one in rewards]).real)
    for place in range(len(rewards)):
        shifted = [one + 1j * H * (number == place) for number, one in enumerate(rewards)]
        assert abs(at.grad[place].item() - slow(shifted).imag / H) < 1e-10


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(finite, st.sampled_from([0.25, 1.0, 3.0])), min_size=1, max_size=6))
def test_the_baseline_of_kto_is_the_weighted_mean_kept_from_falling_below_zero(rows):
    total = sum(weight * ratio for ratio, weight in rows) / sum(weight for _, weight in rows)
    ratios, weights = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    assert agree(losses.kto_baseline(ratios, weights).item(), max(0.0, total))


# --- soft labels and weights

PREFERENCE = {
    "bradley_terry": lambda c, r, p: losses.bradley_terry(c, r, p, torch.full_like(c, 0.3)),
    "dpo": lambda c, r, p: losses.dpo(c, r, p, beta=BETA),
    "conservative_dpo": lambda c, r, p: losses.conservative_dpo(c, r, p, beta=BETA, flip_rate=FLIP),
    "robust_dpo": lambda c, r, p: losses.robust_dpo(c, r, p, beta=BETA, flip_rate=FLIP),
    "ipo": lambda c, r, p: losses.ipo(c, r, p, beta=BETA),
    "hinge": lambda c, r, p: losses.hinge(c, r, p, beta=BETA),
    "simpo": lambda c, r, p: losses.simpo(c, r, p, beta=BETA, gamma=GAMMA),
    "orpo": lambda c, r, p: losses.orpo(c, r, p, strength=STRENGTH),
    "better_answer": losses.better_answer,
}
HARD = {  # the published formula for a label without doubt, as it is usually written
    "bradley_terry": lambda c, r: -torch.nn.functional.logsigmoid(c - r - 0.3),
    "dpo": lambda c, r: -torch.nn.functional.logsigmoid(BETA * (c - r)),
    "ipo": lambda c, r: (c - r - 1 / (2 * BETA)) ** 2,
    "hinge": lambda c, r: torch.relu(1 - BETA * (c - r)),
    "simpo": lambda c, r: -torch.nn.functional.logsigmoid(BETA * (c - r) - GAMMA),
}


def scores(dtype, seed=0, count=40):
    random = torch.Generator().manual_seed(seed)
    drawn = -torch.rand((2, count), generator=random, dtype=torch.float64) * 20
    return [side.to(dtype).requires_grad_() for side in drawn]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", HARD)
def test_p_of_one_is_the_hard_label_to_the_last_bit(name, dtype):
    soft_sides, hard_sides = scores(dtype), scores(dtype)
    ours = PREFERENCE[name](*soft_sides, torch.ones(40, dtype=dtype))
    wanted = HARD[name](*hard_sides)
    assert torch.equal(ours, wanted)
    ours.sum().backward()
    wanted.sum().backward()
    for found, hard in zip(soft_sides, hard_sides, strict=True):
        assert torch.equal(found.grad, hard.grad)


@pytest.mark.parametrize("name", PREFERENCE)
def test_a_soft_row_is_the_expectation_over_hard_duplicates(name):
    """A row of p = 0.7 and weight 10 is seven rows as labelled and three exchanged, in value and gradient."""
    chosen, rejected = scores(torch.float64, count=5)
    one = losses.weighted_sum(
        PREFERENCE[name](chosen, rejected, torch.full((5,), 0.7, dtype=torch.float64)), torch.full((5,), 10.0)
    )
    gradients = torch.autograd.grad(one, (chosen, rejected))
    ones = torch.ones(5).double()
    many = sum(PREFERENCE[name](chosen, rejected, ones).sum() for _ in range(7))
    many = many + sum(PREFERENCE[name](rejected, chosen, ones).sum() for _ in range(3))
    for found, wanted in zip(gradients, torch.autograd.grad(many, (chosen, rejected)), strict=True):
        assert (found - wanted).abs().max() < 1e-12 * max(1, wanted.abs().max())
    assert abs(one - many) < 1e-12 * abs(many)


@pytest.mark.parametrize("name", PREFERENCE)
def test_exchanging_the_answers_with_the_label_changes_nothing(name):
    chosen, rejected = scores(torch.float64)
    p = torch.linspace(0, 1, 40).double()
    assert torch.allclose(PREFERENCE[name](chosen, rejected, p), PREFERENCE[name](rejected, chosen, 1 - p), atol=1e-13)


@pytest.mark.parametrize("name", PREFERENCE)
def test_losses_stay_finite_far_out_and_do_not_overflow_in_float32(name):
    """`log(1 + exp(x))` overflows at 89 in float32; softplus does not."""
    for far in (-1e4, -100.0, -1e-6):
        chosen = torch.tensor([far], requires_grad=True)
        loss = PREFERENCE[name](chosen, torch.tensor([-3.0]), torch.tensor([0.9]))
        loss.backward()
        assert torch.isfinite(loss).all()
        assert torch.isfinite(chosen.grad).all()


@pytest.mark.parametrize("logprob", [-1e-12, -1e-4, -0.5, -0.6931, -0.6932, -3.0, -80.0, -700.0])
def test_log_odds_are_exact_near_both_ends(logprob):
    with decimal.localcontext(prec=60):
        x = decimal.Decimal(logprob)
        wanted, slope = x - (1 - x.exp()).ln(), 1 / (1 - x.exp())
    at = torch.tensor(logprob, dtype=torch.float64, requires_grad=True)
    found = losses.log_odds(at)
    found.backward()
    assert found.item() == pytest.approx(float(wanted), rel=1e-14)
    assert at.grad.item() == pytest.approx(float(slope), rel=1e-14)


def test_the_baseline_of_kto_takes_no_gradient():
    ratio, baseline = (torch.tensor([x], requires_grad=True) for x in (1.0, 0.3))
    losses.kto(ratio, baseline, torch.ones(1), beta=BETA).sum().backward()
    assert ratio.grad.item() < 0
    assert baseline.grad is None


def test_hand_worked_values():
    one = torch.ones(1).double()
    c, r = torch.tensor([-1.0]).double(), torch.tensor([-3.0]).double()
    assert losses.dpo(c, r, one, beta=0.5).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert losses.ipo(c, r, one, beta=0.25).item() == 0.0  # Δ = 2 = 1 / 2β
    assert losses.hinge(c, r, one, beta=0.25).item() == 0.5
    assert losses.log_odds(torch.tensor([math.log(0.8)])).item() == pytest.approx(math.log(4))
    tie = losses.bradley_terry(c, c, one / 2)
    assert tie.item() == pytest.approx(math.log(2))
