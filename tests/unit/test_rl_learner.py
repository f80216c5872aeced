"""The learner: an iteration against a plain loop, what it does not depend on, resume, and what stops it."""

import json

import numpy as np
import pytest
import torch

from rlaif.errors import InputError, TrainingStopped
from rlaif.train import checkpoint
from rlaif.train.folders import give_up_others
from rlaif.train.packing import pad
from rlaif.train.rl.observing import End, Keep, was_stopped
from rlaif.train.rl.policy import PolicyModel, Reference, separate_value, value_head
from rlaif.train.rl.policy_task import PolicyTask
from rlaif.train.rl.prompts import answer_seeds, asked
from rlaif.train.rl.rewards import from_function
from rlaif.train.rl.rollouts import WhenAsked
from rlaif.train.settings import OptimiserSettings
from rlaif.train.task import Layout
from tests.rl_kit import SlowSampler, grpo, make_learner, ppo, some_prompts
from tests.train_models import double_llama, llama, random_pairs

torch.set_num_threads(1)


class Replaying(SlowSampler):
    """Gives the answers that another run was given, by their seeds."""

    def __init__(self, known=None):
        super().__init__()
        self.known = {} if known is None else known

    def answer(self, prompt, seed, how):
        if seed not in self.known:
            self.known[seed] = super().answer(prompt, seed, how)
        return self.known[seed]


def weights_of(learner):
    return torch.cat([weight.detach().flatten() for weight in learner.stepper.plain.parameters()])


def log_of(learner):
    return [json.loads(line) for line in learner.journal.log.open()]


# --- an iteration, written out


def plain_logprobs(model, rollout):
    """log π of the answer's tokens from the model's own whole logits, and the entropies."""
    ids = torch.from_numpy(np.concatenate([rollout.prompt, rollout.answer]))[None]
    shares = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
    at = torch.arange(len(rollout.prompt) - 1, ids.shape[1] - 1)
    return shares[at, ids[0, at + 1]], -(shares[at].exp() * shares[at]).sum(-1)


def plain_values(model, head, rollout):
    """The value of the state before each token."""
    ids = torch.from_numpy(np.concatenate([rollout.prompt, rollout.answer]))[None]
    states = model.model(input_ids=ids, use_cache=False).last_hidden_state[0]
    return head.linear(states[len(rollout.prompt) - 1 : -1])[:, 0]


def test_an_iteration_of_ppo_is_what_a_plain_loop_computes(tmp_path):
    """Two epochs on all answers at once: KL in the reward, GAE, whitening, clipped losses, entropy, AdamW, in float64
    and in Python loops, from the model's own whole logits."""
    settings = ppo(iterations=1, minibatches=1, entropy=0.01, value_clip=0.2, kl={"coefficient": 0.3})
    sampler = Replaying()
    learner = make_learner(settings, tmp_path, make=double_llama, sampler=sampler, reference=Reference(double_llama(1)))
    object.__setattr__(learner.collector, "check_start", lambda seen: None)  # another reference is meant here
    learner.iterate(0)

    twin, reference = double_llama(), double_llama(1)
    head = value_head(twin).double()
    rollouts = list(sampler.known.values())
    scores = [float((one.answer == 7).sum()) - 0.1 * len(one.answer) for one in rollouts]
    old, advantages, returns, values_before = [], [], [], []
    with torch.no_grad():
        for one, score in zip(rollouts, scores, strict=True):
            logprobs, _ = plain_logprobs(twin, one)
            far, _ = plain_logprobs(reference, one)
            values = plain_values(twin, head, one).tolist()
            rewards = [-0.3 * float(a - b) for a, b in zip(logprobs, far, strict=True)]
            rewards[-1] += score
            running, found = 0.0, []
            for t in reversed(range(len(rewards))):
                after = values[t + 1] if t + 1 < len(values) else 0.0
                running = rewards[t] + after - values[t] + 0.95 * running
                found.insert(0, running)
            old.append(logprobs)
            advantages.append(found)
            returns.append([a + v for a, v in zip(found, values, strict=True)])
            values_before.append(values)
    flat = [a for one in advantages for a in one]
    mean, deviation = np.mean(flat), np.sqrt(np.var(flat) + 1e-8)
    weights = [*twin.parameters(), *head.parameters()]
    chosen = settings.loop.optimiser
    optimiser = torch.optim.AdamW(weights, lr=0.0, weight_decay=0.0, eps=chosen.epsilon)
    for epoch in range(2):
        loss = 0.0
        for number, one in enumerate(rollouts):
            logprobs, entropies = plain_logprobs(twin, one)
            values = plain_values(twin, head, one)
            for t in range(len(one.answer)):
                advantage = (advantages[number][t] - mean) / deviation
                ratio = (logprobs[t] - old[number][t]).exp()
                loss -= torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
                before, goal = values_before[number][t], returns[number][t]
                near = before + (values[t] - before).clamp(-0.2, 0.2)
                loss += 0.1 * 0.5 * torch.maximum((values[t] - goal) ** 2, (near - goal) ** 2)
                loss -= 0.01 * entropies[t]
        optimiser.zero_grad()
        (loss / len(flat)).backward()
        torch.nn.utils.clip_grad_norm_(weights, chosen.max_grad_norm)
        optimiser.param_groups[0]["lr"] = learner.stepper.rate(epoch, 2)
        optimiser.step()
    wanted = torch.cat([one.detach().flatten() for one in weights])
    assert (weights_of(learner) - wanted).abs().max() < 1e-10


def test_an_iteration_of_grpo_is_what_a_plain_loop_computes(tmp_path):
    """Two epochs: (r - mean) / std of the group, the mean over answers of their tokens' means, k3 to the reference."""
    settings = grpo(iterations=1, minibatches=1, epochs=2, kl={"coefficient": 0.2})
    sampler = Replaying()
    learner = make_learner(settings, tmp_path, make=double_llama, sampler=sampler, reference=Reference(double_llama(1)))
    object.__setattr__(learner.collector, "check_start", lambda seen: None)
    learner.iterate(0)

    twin, reference = double_llama(), double_llama(1)
    rollouts = list(sampler.known.values())
    scores = np.array([float((one.answer == 7).sum()) - 0.1 * len(one.answer) for one in rollouts]).reshape(-1, 3)
    spread = scores.std(axis=1, ddof=1, keepdims=True)
    advantages = ((scores - scores.mean(axis=1, keepdims=True)) / (spread + 1e-4)).ravel()
    with torch.no_grad():
        old = [plain_logprobs(twin, one)[0] for one in rollouts]
        far = [plain_logprobs(reference, one)[0] for one in rollouts]
    optimiser = torch.optim.AdamW(twin.parameters(), lr=0.0, weight_decay=0.0, eps=1e-4)
    for epoch in range(2):
        total = 0.0
        for number, one in enumerate(rollouts):
            logprobs, _ = plain_logprobs(twin, one)
            ratio = (logprobs - old[number]).exp()
            gain = torch.minimum(ratio * advantages[number], ratio.clamp(0.8, 1.2) * advantages[number])
            gap = far[number] - logprobs
            total += (-gain + 0.2 * (gap.exp() - 1 - gap)).mean()
        optimiser.zero_grad()
        (total / len(rollouts)).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimiser.param_groups[0]["lr"] = learner.stepper.rate(epoch, 2)
        optimiser.step()
    wanted = torch.cat([one.detach().flatten() for one in twin.parameters()])
    assert (weights_of(learner) - wanted).abs().max() < 1e-10


# --- what it does not depend on


WAYS = {
    "one prompt at a time": {"micro_batch_tokens": 1},
    "all at once": {"micro_batch_tokens": 10_000},
    "prompts repeated": {"packing": "packed"},
    "padded": {"packing": "off"},
    "logits in chunks of three": {"chunk_rows": 3},
    "activations computed twice": {"gradient_checkpointing": True},
}


def run(settings, folder, known, *, make=llama, **way):
    loop = settings.loop.model_copy(update=way)
    settings = settings.model_copy(update={"loop": loop})

    def made():
        model = make()
        if way.get("gradient_checkpointing"):
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return model

    learner = make_learner(settings, folder, make=made, sampler=Replaying(known))
    learner.run()
    return learner


@pytest.mark.parametrize(
    "settings", [ppo(iterations=2, entropy=0.01), grpo(iterations=2, advantage="rloo", kl={"place": "reward"})]
)
def test_how_a_step_is_divided_and_laid_out_changes_nothing(settings, tmp_path):
    known = {}
    wanted = weights_of(run(settings, tmp_path / "wanted", known, make=double_llama))
    for name, way in WAYS.items():
        found = weights_of(run(settings, tmp_path / name, known, make=double_llama, **way))
        assert (found - wanted).abs().max() < 1e-9, name


# a KL is a sum of log-ratios of about ten nats each: in float32 it is that much further off than a mean of losses
NEAR = {"loss": 1e-6, "policy_loss": 1e-6, "value_loss": 1e-6, "ratio": 1e-6, "entropy": 1e-6, "kl": 3e-5}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [ppo(iterations=13, minibatches=1, epochs=4), grpo(iterations=25)])
def test_fifty_steps_on_recorded_answers_have_the_same_losses_however_they_are_computed(settings, tmp_path):
    loop = {"save_every": 100, "optimiser": OptimiserSettings(learning_rate=1e-3)}
    settings = settings.model_copy(update={"loop": settings.loop.model_copy(update=loop)})
    known = {}
    wanted = log_of(run(settings, tmp_path / "wanted", known))
    assert len(wanted) == settings.iterations + 1  # of two or four steps each
    assert abs(wanted[-2]["kl"]) > 1e-3  # something was learnt
    for name in ("one prompt at a time", "prompts repeated", "padded", "activations computed twice"):
        way = WAYS[name]
        found = log_of(run(settings, tmp_path / name, known, **way))
        for line, other in zip(wanted, found, strict=True):
            gaps = {figure: abs(line[figure] - other[figure]) for figure in NEAR if figure in line}
            assert all(gap < NEAR[figure] for figure, gap in gaps.items()), (name, line["step"], gaps)


def test_an_answer_is_drawn_from_its_own_seed():
    prompts = some_prompts(3)
    seeds = answer_seeds([*prompts, prompts[0]], 2, 5, 0)
    assert len(set(seeds)) == 8  # a prompt asked twice gets other answers
    turned = answer_seeds([*prompts[::-1], prompts[0]], 2, 5, 0)
    assert set(turned) == set(seeds)  # the order of the prompts does not matter
    assert set(answer_seeds(prompts, 2, 6, 0)).isdisjoint(seeds)


def test_every_prompt_is_asked_once_per_pass_in_an_order_of_the_passs_own():
    places = [place for iteration in range(5) for place in asked(10, 4, iteration, seed=1)]
    assert sorted(places[:10]) == sorted(places[10:]) == list(range(10))
    assert places[:10] != places[10:]


# --- what the policy reads


@pytest.mark.parametrize("packing", ["shared", "off"])
def test_a_tokens_value_is_read_before_the_token_is_known(packing):
    """Another token in its place changes its log-probability, not its value."""
    model = double_llama()
    head = value_head(model).double()
    torch.nn.init.normal_(head.linear.weight)
    policy = PolicyModel(model, value=head).prepare()
    (pair,) = random_pairs(1, seed=5, answer=(6, 6))
    one = pair[0]
    other = one.ids.copy()
    other[-1] = (other[-1] + 1) % 50
    changed = type(one)(other, one.scored)
    first, second = (policy(Layout(packing).batch([(sequence,)])) for sequence in (one, changed))
    assert torch.equal(first.values, second.values)
    assert first.logprobs[-1] != second.logprobs[-1]
    assert torch.equal(first.logprobs[:-1], second.logprobs[:-1])


def test_temperature_divides_the_logits_of_policy_and_reference_alike():
    model = double_llama()
    policy = PolicyModel(model, temperature=0.7).prepare()
    (pair,) = random_pairs(1, seed=5)
    batch = pad([pair[:1]])
    shares = (model(input_ids=batch.ids, use_cache=False).logits[0].double() / 0.7).log_softmax(-1)
    wanted = shares[batch.rows, batch.targets]
    assert (policy(batch).logprobs - wanted).abs().max() < 1e-12
    assert (Reference(double_llama()).logprobs(policy, batch) - wanted).abs().max() < 1e-12


def test_a_separate_value_begins_at_nothing_and_shares_no_weight_with_the_policy():
    model = llama()
    value = separate_value(model)
    policy = PolicyModel(model, value=value).prepare()
    assert {id(weight) for weight in model.parameters()}.isdisjoint(id(weight) for weight in value.parameters())
    found = policy(Layout().batch(random_pairs(3)))
    assert torch.equal(found.values, torch.zeros_like(found.values))
    assert not any("lm_head" in name for name, _ in value.named_parameters())


def test_dropout_is_off_while_a_policy_learns(tmp_path):
    learner = make_learner(grpo(iterations=1), tmp_path, make=lambda: llama(attention_dropout=0.5))
    learner.run()  # the first ratio is asserted
    assert log_of(learner)[0]["kl"] == 0.0


@pytest.mark.parametrize("settings", [ppo(iterations=1, entropy=0.01), grpo(iterations=1)])
def test_the_first_pass_is_computed_once_to_be_read_and_to_be_learnt_from(tmp_path, settings):
    def learnt(folder, *, is_kept):
        learner, calls = make_learner(settings, folder), []
        read = learner.collector.read
        if not is_kept:
            object.__setattr__(learner.collector, "read", lambda *given: (read(*given)[0], None))
        learner.stepper.plain.register_forward_hook(lambda *_: calls.append(1))
        learner.iterate(0)
        return weights_of(learner), len(calls)

    (found, calls), (wanted, more) = learnt(tmp_path / "kept", is_kept=True), learnt(tmp_path / "twice", is_kept=False)
    assert torch.equal(found, wanted)
    assert calls == more - 1


# --- the assertions of every run


def test_a_fresh_answers_ratio_is_one_and_its_kl_nothing(tmp_path):
    learner = make_learner(ppo(iterations=1, epochs=1, minibatches=1), tmp_path)
    learner.run()
    first = log_of(learner)[0]
    assert (first["kl"], first["kl_k3"], first["clip_fraction"], first["approx_kl"]) == (0.0, 0.0, 0.0, 0.0)
    assert first["ratio"] == 1.0
    assert first["sampler_gap_most"] < 1e-5


def test_a_policy_that_is_not_the_one_that_was_read_stops_the_run(tmp_path, monkeypatch):
    learner = make_learner(grpo(iterations=1), tmp_path)
    really = PolicyTask.__init__

    def moved(self, *args):
        really(self, *args)
        with torch.no_grad():
            learner.stepper.plain.model.lm_head.weight.mul_(1.001)

    monkeypatch.setattr(PolicyTask, "__init__", moved)
    with pytest.raises(TrainingStopped, match="ratio to its own policy is off by"):
        learner.run()


def test_a_reference_that_is_not_the_start_has_to_be_named(tmp_path):
    learner = make_learner(grpo(iterations=1), tmp_path, reference=Reference(llama(1)))
    with pytest.raises(TrainingStopped, match="differs from its reference"):
        learner.run()


# --- stopping and going on


def stopping_at(iteration):
    """A reward that breaks down at an iteration's answers."""

    def reward(answers, calls=[0]):  # noqa: B006 - it counts on purpose
        calls[0] += 1
        if calls[0] == iteration + 1:
            raise KeyboardInterrupt
        return [float((one.rollout.answer == 7).sum()) for one in answers]

    return from_function("sevens", reward)


def counting(learner):
    """One entry per call of the sampler."""
    calls, sampler = [], learner.collector.sampler
    really = sampler.sample
    sampler.sample = lambda *asked: calls.append(1) or really(*asked)
    return calls


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_an_interrupted_run_ends_as_an_undisturbed_one(method, tmp_path):
    settings = (ppo if method == "ppo" else grpo)(iterations=5, kl={"coefficient": 0.1, "target": 0.5})
    plain = from_function("sevens", lambda answers: [float((one.rollout.answer == 7).sum()) for one in answers])
    whole = make_learner(settings, tmp_path / "whole", reward=plain)
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        make_learner(settings, tmp_path / "cut", reward=stopping_at(3)).run()
    again = make_learner(settings, tmp_path / "cut", reward=plain)
    calls = counting(again)
    report = again.run()
    assert report.resumed_at == 2  # the third iteration's weights were kept only once their answers were there
    assert len(calls) == 3  # iterations 3 and 4 and the last look; 2 was on the disk
    assert torch.equal(weights_of(again), weights_of(whole))
    assert again.journal.log.read_bytes() == whole.journal.log.read_bytes()
    assert again.memory == whole.memory
    assert again.memory.coefficient != settings.kl.coefficient


def test_a_finished_run_has_nothing_to_do(tmp_path):
    make_learner(grpo(iterations=2), tmp_path).run()
    again = make_learner(grpo(iterations=2), tmp_path)
    calls = counting(again)
    report = again.run()
    assert (report.resumed_at, report.final, calls) == (2, {}, [])


def test_a_sampler_is_made_when_it_is_first_used_and_only_then(tmp_path):
    made = []
    later = WhenAsked(lambda: made.append(SlowSampler()) or made[0])
    settings = grpo(iterations=2)
    make_learner(settings, tmp_path, sampler=later).run()
    later.close()
    assert len(made) == 1
    make_learner(settings, tmp_path, sampler=WhenAsked(lambda: pytest.fail("a finished run draws nothing"))).run()


def test_no_time_is_written_to_the_metrics_log(tmp_path):
    learner = make_learner(grpo(iterations=1), tmp_path)
    report = learner.run()
    assert set(report.seconds) >= {"rollout", "scoring", "reward", "learning"}
    assert not [name for line in log_of(learner) for name in line if "second" in name or "time" in name]


def test_a_reward_that_is_no_number_stops_the_run_and_spoils_nothing(tmp_path):
    def reward(answers, calls=[0]):  # noqa: B006 - it counts on purpose
        calls[0] += 1
        return [float("nan") if calls[0] == 3 and number == 1 else 1.0 * number for number in range(len(answers))]

    settings = grpo(iterations=5)
    with pytest.raises(TrainingStopped, match=r"1 of 12 rewards are no numbers \(part 'odd'\)"):
        make_learner(settings, tmp_path, reward=from_function("odd", reward)).run()
    assert checkpoint.newest(tmp_path).step == 1
    kept = sorted(path.name for path in (tmp_path / "rollouts").iterdir())
    assert kept == ["rollouts-00000000.pt", "rollouts-00000001.pt"]  # of both checkpoints; the bad ones are not kept


def test_rewards_that_never_differ_are_counted_and_then_stop_the_run(tmp_path):
    settings = grpo(iterations=9, stop={"constant_rewards": 3})
    learner = make_learner(settings, tmp_path, reward=from_function("same", lambda answers: [0.25] * len(answers)))
    with pytest.raises(
        TrainingStopped, match="iteration 3: for 3 iterations in a row every answer got the same reward"
    ):
        learner.run()
    assert [line["constant_rewards"] for line in log_of(learner)] == [1, 2]
    assert [line["groups_without_signal"] for line in log_of(learner)] == [1.0, 1.0]


def test_answers_that_never_end_are_counted_and_then_stop_the_run(tmp_path):
    class Endless(SlowSampler):
        def answer(self, prompt, seed, how):
            return super().answer(prompt, seed, type(how)(how.max_new_tokens, (), how.temperature))

    settings = grpo(iterations=9, stop={"patience": 2, "constant_rewards": None})
    learner = make_learner(settings, tmp_path, sampler=Endless())
    with pytest.raises(TrainingStopped, match=r"2 iterations in a row nearly no answer ended; .* 100.0%"):
        learner.run()
    assert log_of(learner)[0]["ended_share"] == 0.0


def test_an_exploding_kl_stops_the_run_and_the_last_checkpoint_is_a_good_one(tmp_path):
    settings = ppo(
        iterations=30,
        stop={"kl": 1.0, "unended": None},
        loop={"micro_batch_tokens": 500, "save_every": 1, "optimiser": {"learning_rate": 0.005}},
    )
    with pytest.raises(TrainingStopped, match=r"the KL to the reference is .* the limit stop.kl is 1") as stopped:
        make_learner(settings, tmp_path).run()
    state = checkpoint.newest(tmp_path)
    assert state.step >= 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert state.step == len(lines) - 1  # the newest weights are those that were too far, and were not kept
    assert all(line["kl"] <= 1.0 for line in lines)
    assert str(tmp_path) in str(stopped.value)


class Looking:
    """An observer that wants to end the run after so many looks."""

    def __init__(self, ends_after, good_until):
        self.ends_after, self.good_until, self.looks = ends_after, good_until, 0

    def note(self, seen, figures):
        self.looks += 1
        end = End("Enough.", self.good_until) if self.looks == self.ends_after else None
        return {"looks": float(self.looks)}, end

    def memory(self):
        return {"looks": self.looks}

    def restore(self, memory):
        self.looks = memory["looks"]


def test_an_observer_may_end_the_run_at_weights_that_were_good(tmp_path):
    settings = grpo(iterations=9, loop={"save_every": 1, "keep_checkpoints": 5})
    kept = {}

    def remember(done, total, figures):
        kept[done] = weights_of(learner)

    learner = make_learner(settings, tmp_path, observers=[Looking(4, good_until=2)], watch=remember)
    report = learner.run()
    assert report.stopped == "Enough. Stopped before iteration 4; the weights are those of iteration 2."
    assert torch.equal(weights_of(learner), kept[2])
    again = make_learner(settings, tmp_path, observers=[Looking(99, 0)])
    assert again.run().stopped == report.stopped
    assert torch.equal(weights_of(again), kept[2])


class Knowing(Looking):
    """One that also knows at which look the weights were best."""

    def __init__(self, ends_after, good_until, best):
        super().__init__(ends_after, good_until)
        self.best = best

    def note(self, seen, figures):
        found, end = super().note(seen, figures)
        return found, end or (Keep() if self.looks in self.best else None)


def ended(folder, observer, **loop):
    """A run that this observer ends, its report, and the weights that iterations began with."""
    settings = grpo(iterations=20, loop={"save_every": 1, **loop}, watch={"window": 3})
    kept = {}
    learner = make_learner(settings, folder, observers=[observer])
    sample = learner.collector.sampler.sample

    def remember(*of):
        kept[len(kept)] = weights_of(learner)
        return sample(*of)

    learner.collector.sampler.sample = remember
    return learner, learner.run(), kept


def test_the_best_weights_are_gone_back_to_whatever_the_checkpoints_are(tmp_path):
    learner, report, kept = ended(tmp_path, Knowing(9, good_until=4, best=(1, 4)), save_every=100)
    assert report.returned_to == 3  # the fourth look is at iteration 3
    assert report.stopped.endswith("the weights are those of iteration 3.")
    assert torch.equal(weights_of(learner), kept[3])
    assert report.last == {name: value for name, value in log_of(learner)[3].items() if name != "step"}
    assert log_of(learner)[-1]["looks"] == 9  # what the alarm was raised on is in the log


def test_best_weights_from_after_the_good_ones_are_not_gone_back_to(tmp_path):
    learner, report, kept = ended(tmp_path, Knowing(9, good_until=4, best=(1, 7)), save_every=2, keep_checkpoints=9)
    assert report.returned_to == 4
    assert torch.equal(weights_of(learner), kept[4])


def test_as_many_checkpoints_are_kept_as_a_window_of_the_watch_reaches_back(tmp_path):
    """The usual two, one an iteration, would be of iterations 8 and 7; the alarm's window is three long."""
    learner, report, kept = ended(tmp_path, Looking(9, good_until=5), keep_checkpoints=2)
    assert report.returned_to == 5
    assert torch.equal(weights_of(learner), kept[5])
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*.pt"))[0] == "checkpoint-00000005.pt"


def test_a_run_that_goes_wrong_at_once_ends_with_the_weights_of_the_start(tmp_path):
    learner, report, kept = ended(tmp_path, Looking(5, good_until=1), save_every=100)
    assert report.returned_to == 0
    assert torch.equal(weights_of(learner), kept[0])


def test_a_run_that_was_stopped_is_given_up_when_begun_anew_and_one_that_goes_on_is_not(tmp_path):
    folder = tmp_path / "training"
    learner, _, _ = ended(folder, Looking(3, good_until=1))
    about = (tmp_path, learner.journal.identity, learner.accelerator)
    give_up_others(*about)
    assert checkpoint.newest(folder).memory["stopped"]
    give_up_others(*about, even_its_own=was_stopped)
    assert not folder.exists()
    make_learner(grpo(iterations=1), folder).run()
    give_up_others(*about, even_its_own=was_stopped)
    assert checkpoint.newest(folder).step == 1


def test_what_observers_know_is_resumed(tmp_path):
    settings = grpo(iterations=4)
    with pytest.raises(KeyboardInterrupt):
        make_learner(settings, tmp_path, reward=stopping_at(2), observers=[Looking(99, 0)]).run()
    learner = make_learner(settings, tmp_path, observers=[Looking(99, 0)])
    learner.run()
    assert [line["looks"] for line in log_of(learner)[:4]] == [1.0, 2.0, 3.0, 4.0]


def test_another_runs_checkpoint_is_refused(tmp_path):
    make_learner(grpo(iterations=2), tmp_path, identity={"settings": "a"}).run()
    with pytest.raises(InputError, match="another run"):
        make_learner(grpo(iterations=2), tmp_path, identity={"settings": "b"}).run()


def test_learning_raises_the_reward(tmp_path):
    """Both methods find token 7 on a random little model, far beyond chance: the standard error is about 0.1."""
    for name, settings in {"ppo": ppo(iterations=20), "grpo": grpo(iterations=20)}.items():
        quick = settings.model_copy(update={"kl": settings.kl.model_copy(update={"coefficient": 0.01})})
        learner = make_learner(quick, tmp_path / name)
        learner.run()
        rewards = [line["reward"] for line in log_of(learner)[:-1]]
        assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.5, name
