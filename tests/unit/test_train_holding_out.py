"""Prompts held out of training: whole, the same in every dataset, and never none."""

import pytest

from rlaif.errors import DataError
from rlaif.train.examples import TrainingRow
from rlaif.train.holding_out import hold_out
from tests.train_models import sequence


def row(prompt, answer=9):
    return TrainingRow(family=(sequence([1, prompt], [answer, 2]), sequence([1, prompt], [answer + 1, 2])))


def prompts(rows):
    return {int(one.family[0].ids[1]) for one in rows}


ROWS = [row(prompt, answer) for prompt in range(400) for answer in (9, 20, 30)]


def test_all_rows_of_a_prompt_are_on_one_side():
    kept, held_out = hold_out(ROWS, 0.2, 0)
    assert len(kept) + len(held_out) == len(ROWS)
    assert not prompts(kept) & prompts(held_out)
    assert 50 < len(prompts(held_out)) < 110  # 80 expected, four standard deviations around it
    assert len(held_out) == 3 * len(prompts(held_out))


def test_a_prompt_is_on_the_same_side_whatever_else_there_is_and_whoever_labelled_it():
    _, held_out = hold_out(ROWS, 0.2, 0)
    others = [row(prompt, 40) for prompt in range(399, 199, -1)]
    assert prompts(hold_out(others, 0.2, 0)[1]) == {prompt for prompt in prompts(held_out) if prompt >= 200}
    assert prompts(hold_out(ROWS, 0.2, 1)[1]) != prompts(held_out)


def test_no_share_holds_nothing_out_and_a_side_without_rows_is_an_error():
    assert hold_out(ROWS, 0.0, 0) == (ROWS, [])
    with pytest.raises(DataError, match="too few prompts"):
        hold_out([row(1), row(1, 20)], 0.5, 0)
