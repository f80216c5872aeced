"""One RL training of one side in a process of its own: ours or TRL's, PPO or GRPO, on prompts of `train_setups`.

    python -m benchmarks.ppo_sides --side trl --method ppo --size s        (PPO: with trl 1.12.0 first on PYTHONPATH)

The same models on both sides: policy, reference, and a reward model (PPO: and a value model as large), all Llamas of
`train_setups.SIZES` with random weights. A reward model of random weights rewards something fixed and arbitrary; what
is measured is time and memory, not learning. Answers are sampled at temperature 1 and are almost always as long as they
may be, since random weights end one at one token in thousands; both sides print how many tokens they wrote.

Prints one line of JSON. The first update warms up and is not counted: `wall_s` are the other updates' seconds. Peak
memory is the process's own; `loaded_bytes` what it held before training began, with all models in memory.
"""

import argparse
import json
import logging
import os
import resource
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.train_setups import SIZES, Row, Size, model, rows, tokenizer

RATE = 1e-6
KL = 0.05
EPOCHS = 4  # of PPO; GRPO has one
GROUP = 8


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=("ours", "trl"), required=True)
    parser.add_argument("--method", choices=("ppo", "grpo"), required=True)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--episodes", type=int, default=32, help="answers of an update; GRPO: in groups of 8")
    parser.add_argument("--updates", type=int, default=3, help="counted ones; one more warms up")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


class Clock:
    """Seconds by phase, and the moments at which updates ended."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = defaultdict(float)
        self.ends: list[float] = []
        self.before: dict[str, float] = {}
        self.num_tokens = 0

    def end_update(self) -> None:
        self.ends.append(time.perf_counter())
        if len(self.ends) == 1:
            self.before = dict(self.phases)

    def wrap(self, owner: Any, name: str, phase: str | Callable[[], str]) -> None:
        """Let a function count its seconds. Wrapped functions do not call each other."""
        function = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            found = function(*given, **named)
            self.phases[phase if isinstance(phase, str) else phase()] += time.perf_counter() - begun
            return found

        setattr(owner, name, timed)

    def counted(self) -> dict[str, float]:
        return {name: seconds - self.before.get(name, 0.0) for name, seconds in self.phases.items()}


def main() -> None:
    options = parse()
    # before torch starts its threads
    os.environ |= {"OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import torch

    from rlaif.train.memory import keep_memory

    keep_memory()
    torch.set_num_threads(options.threads)
    size, clock = SIZES[options.size], Clock()
    train = ours if options.side == "ours" else {"ppo": trl_ppo, "grpo": trl_grpo}[options.method]
    with tempfile.TemporaryDirectory(prefix="bench-ppo-") as folder:
        loaded = train(options, size, Path(folder), clock)
    wall = clock.ends[-1] - clock.ends[0]
    phases = clock.counted()
    figures = {
        "wall_s": wall,
        "episodes": options.episodes * options.updates,
        "num_tokens": clock.num_tokens,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "loaded_bytes": loaded,
        "phases": {**phases, "the rest": wall - sum(phases.values())},
        "load_average": os.getloadavg()[0],
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def resident_bytes() -> int:
    """What the process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def prompts(options: argparse.Namespace, size: Size) -> list[Row]:
    """Prompts of HH-RLHF's lengths: one for each answer (GRPO: for each group) of every update."""
    each = options.episodes if options.method == "ppo" else options.episodes // GROUP
    return rows(each * (options.updates + 1), size.vocabulary)


def ends_updates(clock: Clock) -> Any:
    import transformers

    class Ends(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.end_update()

    return Ends()


def quiet() -> None:
    import transformers
    from datasets import disable_progress_bars

    disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def ours(options: argparse.Namespace, size: Size, folder: Path, clock: Clock) -> int:
    """`rlaif.train.rl.learner`, as `rlaif train ppo` and `grpo` run it after reading their files."""
    import numpy as np

    from rlaif.train.forward import prepare_model
    from rlaif.train.heads import Heads
    from rlaif.train.rl.decode import DecodeSampler
    from rlaif.train.rl.learner import Learner
    from rlaif.train.rl.policy import PolicyModel, Reference, separate_value
    from rlaif.train.rl.prompts import plain_prompt
    from rlaif.train.rl.reward_models import ModelReward
    from rlaif.train.rl.settings import GrpoSettings, PpoSettings
    from rlaif.train.scoring import RewardScorer
    from rlaif.train.task import Layout

    words = tokenizer(size)
    is_ppo = options.method == "ppo"
    kind = PpoSettings if is_ppo else GrpoSettings
    group = 1 if is_ppo else GROUP
    settings = kind.model_validate(
        {
            "model": "policy",
            "output": "policy-rl",
            "prompts": [{"path": "prompts.jsonl"}],
            "reward": [{"kind": "model", "path": "reward"}],
            "iterations": options.updates + 1,
            "epochs": EPOCHS if is_ppo else 1,
            "kl": {"coefficient": KL if is_ppo else 0.0},
            "rollout": {
                "prompts": options.episodes // group,
                "group_size": group,
                "max_new_tokens": options.new_tokens,
            },
            "stop": {"constant_rewards": None, "unended": None},
            "loop": {
                "precision": options.precision,
                "save_every": 10_000,
                "optimiser": {"learning_rate": RATE, "warmup_share": 0.0},
            },
        }
    )
    policy = prepare_model(model(size, "policy"))
    judged = prepare_model(model(size, "reward", seed=1))
    judged.config.reward_mean, judged.config.reward_std = 0.0, 1.0
    scorer = RewardScorer(judged, words, Heads(), np.ones(1), Layout("shared"))
    lengths: list[float] = []

    def watch(done: int, total: int, figures: Any) -> None:
        lengths.append(figures["length"])
        clock.phases.update(learner.phases.total)
        clock.end_update()

    learner = Learner(
        PolicyModel(policy, value=separate_value(policy) if is_ppo else None),
        Reference(prepare_model(model(size, "policy"))),
        [plain_prompt(f"{number}", row.prompt) for number, row in enumerate(prompts(options, size))],
        DecodeSampler(policy, precision=options.precision),
        ModelReward(scorer, words),
        settings,
        decode=lambda ids: "",
        stop_ids=(2,),
        folder=folder,
        watch=watch,
    )
    loaded = resident_bytes()
    for iteration in range(options.updates + 1):
        learner.iterate(iteration)
    clock.num_tokens = round(sum(lengths[1:]) * options.episodes)
    return loaded


def trl_ppo(options: argparse.Namespace, size: Size, folder: Path, clock: Clock) -> int:
    """TRL's last PPO: prompts padded on the left, every position scored, its defaults but for what both sides share."""
    import torch
    from accelerate import Accelerator
    from datasets import Dataset
    from trl.experimental import ppo
    from trl.experimental.ppo import ppo_trainer

    quiet()
    words = tokenizer(size)
    words.padding_side = "left"
    clock.wrap(ppo_trainer, "batch_generation", "generation")
    clock.wrap(ppo_trainer, "get_reward", "reward and value")
    clock.wrap(ppo_trainer, "forward", lambda: "learner, forward" if torch.is_grad_enabled() else "reference")
    clock.wrap(Accelerator, "backward", "learner, backward")
    arguments = ppo.PPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=options.episodes,
        gradient_accumulation_steps=1,
        num_mini_batches=1,
        num_ppo_epochs=EPOCHS,
        total_episodes=options.episodes * (options.updates + 1),
        response_length=options.new_tokens,
        local_rollout_forward_batch_size=options.episodes,
        stop_token="eos",
        temperature=1.0,
        kl_coef=KL,
        learning_rate=RATE,
        num_sample_generations=0,
        bf16=options.precision == "bf16",
        gradient_checkpointing=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )
    given = Dataset.from_list([{"input_ids": row.prompt.tolist()} for row in prompts(options, size)])
    trainer = ppo.PPOTrainer(
        args=arguments,
        processing_class=words,
        model=model(size, "ppo"),
        ref_model=model(size, "ppo"),
        reward_model=model(size, "reward", seed=1),
        value_model=model(size, "reward", seed=2),
        train_dataset=given,
        eval_dataset=given.select([0]),
        callbacks=[ends_updates(clock)],
    )
    loaded = resident_bytes()
    trainer.train()
    clock.num_tokens = options.episodes * options.updates * options.new_tokens
    return loaded


def trl_grpo(options: argparse.Namespace, size: Size, folder: Path, clock: Clock) -> int:
    """TRL's GRPO with its defaults (no KL, one pass over the answers) but for what both sides share."""
    import transformers
    import trl
    from accelerate import Accelerator
    from datasets import Dataset

    quiet()
    words = tokenizer(size)
    words.padding_side = "left"
    clock.wrap(trl.GRPOTrainer, "_generate_single_turn", "generation")
    clock.wrap(trl.GRPOTrainer, "_calculate_rewards", "reward")
    clock.wrap(trl.GRPOTrainer, "_compute_loss", "learner, forward")
    clock.wrap(Accelerator, "backward", "learner, backward")
    arguments = trl.GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=options.episodes,
        num_generations=GROUP,
        max_completion_length=options.new_tokens,
        max_steps=options.updates + 1,
        temperature=1.0,
        learning_rate=RATE,
        bf16=options.precision == "bf16",
        gradient_checkpointing=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=10_000,
        seed=0,
    )
    texts = [" ".join(f"w{token}" for token in row.prompt[1:]) + " " for row in prompts(options, size)]
    policy = model(size, "grpo")
    policy.generation_config.eos_token_id, policy.generation_config.pad_token_id = 2, 0
    trainer = trl.GRPOTrainer(
        model=policy,
        reward_funcs=model(size, "reward", seed=1),
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": text} for text in texts]),
        processing_class=words,
        reward_processing_classes=tokenizer(size),
        callbacks=[ends_updates(clock)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    loaded = resident_bytes()
    trainer.train()
    clock.num_tokens = options.episodes * options.updates * options.new_tokens
    return loaded


if __name__ == "__main__":
    main()
