"""What `rlaif tiny shares` finds, at its edges; that training moves shares is in tests/e2e/test_training_moves.py."""

import io

import numpy as np
import pytest
import torch
from rich.console import Console

from rlaif.cli.tiny_view import shares_view
from rlaif.constitution import Constitution, Principle
from rlaif.errors import ConstitutionError
from rlaif.numbers.figures import Estimate
from rlaif.tiny.meanings import Meaning
from rlaif.tiny.wordings import AVOID, PREFER
from rlaif.train.tiny.loaded import load
from rlaif.train.tiny.prompt_set import set_prompts
from rlaif.train.tiny.sampling import sample
from rlaif.train.tiny.shares import PrincipleShares, Shares, fresh_prompts, logprobs, measure_shares

torch.set_num_threads(1)


def figure(value, low, high):
    return Estimate(value, low, high, 480, 120)


def test_the_table_fits_a_terminal_and_marks_what_has_risen():
    risen = PrincipleShares("polite", Meaning("polite", PREFER), *[figure(0.3, 0.2, 0.4)] * 3)
    unsure = PrincipleShares("no-flattery", Meaning("flatters", AVOID), *[figure(0.1, -0.1, 0.3)] * 3)
    both = (0.9, 0.8)
    found = Shares((risen, unsure), ("odd",), figure(5.0, 4.0, 6.0), 120, 480, both, both, both)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(shares_view(found, "outputs/models/quickstart-dpo", "tiny-policy"))
    lines = console.export_text().splitlines()
    (polite,) = [line for line in lines if line.lstrip().startswith("polite")]
    (flattery,) = [line for line in lines if line.lstrip().startswith("no-flattery")]
    assert "+30.0 (+20.0 to +40.0) *" in polite
    assert "not flatters" in flattery
    assert "*" not in flattery
    assert not any("…" in line for line in lines)
    assert any("not measured: odd" in line for line in lines)


def test_prompts_are_new_and_a_constitution_of_other_words_is_refused():
    known = {prompt.turns[0] for prompt in set_prompts()}
    assert not known & {prompt.turns[0] for prompt in fresh_prompts(50, 1)}
    principle = Principle(id="good", text="Be good.", question="Which response is better?")
    with pytest.raises(ConstitutionError, match="none of its principles"):
        measure_shares(
            "x", "tiny-policy", Constitution(name="c", principles=(principle,)), num_prompts=8, each=1, seed=0
        )


@pytest.mark.slow
def test_log_probabilities_are_those_of_the_tokens_that_were_drawn():
    """Against transformers' own logits, one answer at a time."""
    policy = load("tiny-policy", torch.float32)
    prompts = fresh_prompts(3, 7)
    drawn = sample(policy, prompts, each=2, seed=1)
    wanted = []
    with torch.no_grad():
        for family in drawn.families:
            for one in family:
                ids = torch.from_numpy(one.ids)[None]
                logs = policy.model(input_ids=ids).logits[0].double().log_softmax(-1)
                at = np.flatnonzero(one.scored)
                wanted.append(float(logs[at - 1, one.ids[at]].sum()))
    found = logprobs(policy, drawn.families)
    assert found.ravel() == pytest.approx(wanted, rel=1e-5)
    asked = policy.tokenizer.apply_chat_template(prompts[0].messages, add_generation_prompt=True)["input_ids"]
    first = drawn.families[0][0]
    assert first.ids[~first.scored].tolist() == asked
