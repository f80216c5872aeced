"""A trap is a mistake that others made and no loss curve shows. Each test here is run twice: on the code as it is,
where it has to pass, and on the code with the mistake planted, where it has to fail.

    @trap(20, planted("rlaif.train.reward.init_head", too_small))
    def test_the_reward_head_starts_with_rewards_of_size_one(): ...

The numbers are those of the list in docs/training-proofs.md.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

FAILED = (AssertionError, pytest.fail.Exception)  # the latter: `pytest.raises` that saw nothing raised


@dataclass(frozen=True)
class Planted:
    """What stands in the place of the right implementation, by its dotted name."""

    target: str
    instead: Any


def planted(target: str, instead: Any) -> Planted:
    return Planted(target, instead)


def trap(number: int, *mistakes: Planted) -> Callable:
    """Mark a test as the one of trap `number`; every mistake, planted alone, has to make it fail."""
    assert mistakes, "a trap nobody could fall into proves nothing"

    def decorate(check: Callable) -> Callable:
        @functools.wraps(check)
        def test(*args: Any, **kwargs: Any) -> None:
            check(*args, **kwargs)
            for mistake in mistakes:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(mistake.target, mistake.instead)
                    try:
                        check(*args, **kwargs)
                    except FAILED:
                        continue
                pytest.fail(f"trap {number}: {mistake.target} was replaced by the mistake, and nothing was noticed")

        test.trap = number
        return test

    return decorate
