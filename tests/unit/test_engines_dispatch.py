"""Who is asked what, and when again: the decisions of the HTTP engine, with a clock of our own."""

from rlaif.engines.base import Request, Sampling
from rlaif.engines.http_dispatch import Dispatcher, backoff
from rlaif.records import Message


def request(text):
    return Request(id=text, messages=(Message("user", text),), sampling=Sampling(max_tokens=1))


def group(name, count):
    return [request(f"{name} " * 20 + str(n)) for n in range(count)]


def sent(dispatcher, now=0.0):
    found = []
    while (one := dispatcher.next(now)) is not None:
        found.append((one[0].number, one[1].request.id))
    return found


def fail(dispatcher, place, item, now, **how):
    return dispatcher.failed(place, item, now, **{"after_s": None, "is_down": False, "is_busy": False, **how})


def test_requests_of_one_group_go_to_one_server_and_groups_spread_over_servers():
    dispatcher = Dispatcher(2, concurrency=4, retries=1)
    for one in (*group("red", 4), *group("blue", 4)):
        dispatcher.add(one)
    by_server = {0: set(), 1: set()}
    for number, name in sent(dispatcher):
        by_server[number].add(name.split()[0])
    assert sorted(map(sorted, by_server.values())) == [["blue"], ["red"]]


def test_a_server_is_never_given_more_than_its_places():
    dispatcher = Dispatcher(2, concurrency=3, retries=1)
    for n in range(20):
        dispatcher.add(request(f"{n} alone"))
    assert len(sent(dispatcher)) == 6
    assert [place.open for place in dispatcher.places] == [3, 3]


def test_what_failed_goes_to_another_server_at_once_and_to_the_same_one_after_a_wait():
    two = Dispatcher(2, concurrency=1, retries=3)
    two.add(request("a"))
    place, item = two.next(0.0)
    assert fail(two, place, item, 0.0)
    assert two.next(0.0)[0] is not place
    one = Dispatcher(1, concurrency=1, retries=3)
    one.add(request("a"))
    place, item = one.next(0.0)
    fail(one, place, item, 0.0)
    assert one.next(0.0) is None
    assert one.wake_at(0.0) == backoff(1)
    assert one.next(backoff(1)) is not None


def test_a_request_is_given_up_after_the_tries_it_is_allowed():
    dispatcher = Dispatcher(1, concurrency=1, retries=2)
    dispatcher.add(request("a"))
    now, kept = 0.0, []
    while (one := dispatcher.next(now)) is not None:
        kept.append(fail(dispatcher, *one, now))
        now += 100
    assert kept == [True, True, False]


def test_a_busy_server_rests_as_long_as_it_asked_and_is_then_asked_less_at_once():
    dispatcher = Dispatcher(1, concurrency=8, retries=2)
    for n in range(30):
        dispatcher.add(request(f"{n} alone"))
    place, item = dispatcher.next(0.0)
    fail(dispatcher, place, item, 0.0, after_s=7.0, is_busy=True)
    assert dispatcher.next(6.9) is None
    assert dispatcher.wake_at(0.0) == 7.0
    assert len(sent(dispatcher, 7.0)) == 4
    for _ in range(40):
        place.open += 1
        dispatcher.answered(place)
    assert place.limit > 7


def test_a_server_that_is_down_gives_back_what_it_had_not_begun():
    dispatcher = Dispatcher(2, concurrency=2, retries=2)
    for one in group("red", 2):
        dispatcher.add(one)
    place, item = dispatcher.next(0.0)
    fail(dispatcher, place, item, 0.0, is_down=True)
    assert {number for number, _ in sent(dispatcher)} == {1 - place.number}


def test_a_server_that_is_down_is_tried_with_one_request_at_a_time_which_is_no_try_of_the_request():
    dispatcher = Dispatcher(1, concurrency=8, retries=0)
    for n in range(30):
        dispatcher.add(request(f"{n} alone"))
    sent_at_once = [dispatcher.next(0.0) for _ in range(8)]
    for place, item in sent_at_once:
        assert fail(dispatcher, place, item, 0.0, is_down=True)
    now, waits = 0.0, []
    for _ in range(6):
        assert dispatcher.next(now) is None
        waits.append(dispatcher.wake_at(now) - now)
        now = dispatcher.wake_at(now)
        place, item = dispatcher.next(now)
        assert dispatcher.next(now) is None  # the others wait for this one
        assert fail(dispatcher, place, item, now, is_down=True)
        assert dispatcher.all_down_since() == 0.0
    assert waits == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    now += 4.0
    place, item = dispatcher.next(now)
    dispatcher.answered(place)
    assert dispatcher.all_down_since() is None
    assert len(sent(dispatcher, now)) == 8


def test_servers_are_all_down_from_when_the_last_one_went():
    dispatcher = Dispatcher(2, concurrency=1, retries=2)
    for n in range(4):
        dispatcher.add(request(f"{n} alone"))
    one, other = dispatcher.next(0.0), dispatcher.next(0.0)
    fail(dispatcher, *one, 3.0, is_down=True)
    assert dispatcher.all_down_since() is None
    fail(dispatcher, *other, 7.0, is_down=True)
    assert dispatcher.all_down_since() == 7.0


def test_waits_grow_and_end_somewhere():
    waits = [backoff(tries) for tries in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[-1] == 16
