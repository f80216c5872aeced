"""Whatever children do, every request of a turn is answered once, or given up for good reason; nothing is lost."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.engines.base import Request, Sampling
from rlaif.engines.in_flight import GIVEN_UP_AFTER, SUSPECT_AFTER, InFlight
from rlaif.records import Message


def request(number):
    return Request(id=str(number), messages=(Message("user", "hi"),), sampling=Sampling(max_tokens=1))


@settings(max_examples=400, deadline=None)
@given(
    count=st.integers(0, 30),
    window=st.integers(1, 8),
    poisonous=st.sets(st.integers(0, 29), max_size=4),
    chance=st.randoms(use_true_random=False),
    deaths=st.integers(0, 15),
)
def test_every_request_ends_once_and_only_what_kills_alone_is_given_up(count, window, poisonous, chance, deaths):
    """Poisonous requests kill their child whenever it comes to them; up to `deaths` more times it dies of nothing."""
    flight = InFlight(map(request, range(count)))
    ended, sent, died_with, died_alone = Counter(), Counter(), Counter(), Counter()
    while True:
        while (one := flight.next(window)) is not None:
            assert sent[one.id] <= died_with[one.id]  # again only after a death
            sent[one.id] += 1
        open_now = list(flight.open)
        assert len(open_now) <= window
        suspects = [name for name in open_now if died_with[name] >= SUSPECT_AFTER]
        assert not suspects or len(open_now) == 1
        if not open_now:
            break
        worked_on = chance.choice(open_now)
        dies_of_nothing = deaths > 0 and chance.random() < 0.3
        if int(worked_on) not in poisonous and not dies_of_nothing:
            flight.answered(worked_on)
            ended[worked_on] += 1
            continue
        deaths -= dies_of_nothing
        died_with.update(open_now)
        died_alone.update(suspects)
        blamed = flight.died()
        if blamed is not None:
            assert died_alone[blamed.id] == GIVEN_UP_AFTER
            ended[blamed.id] += 1
    assert ended == Counter(str(number) for number in range(count))
