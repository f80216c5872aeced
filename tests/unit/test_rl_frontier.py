"""The reward-KL frontier of a run: which points it keeps, what the files hold, and that runs are told apart."""

import json

from hypothesis import given
from hypothesis import strategies as st

from rlaif.train.rl.frontier import Point, draw, envelope, points_of, write_frontier
from rlaif.train.rl.readings import Reading

NUMBER = st.floats(0, 10, allow_nan=False).map(lambda x: round(x, 2))
POINTS = st.lists(st.builds(Point, step=st.integers(0, 99), kl=NUMBER, reward=NUMBER, held_out=NUMBER | st.none()))


@given(POINTS)
def test_the_envelope_is_what_no_other_point_beats_at_most_as_far_away(points):
    for what in ("reward", "held_out"):
        measured = [one for one in points if getattr(one, what) is not None]
        beaten = [
            any(
                other.kl <= one.kl
                and getattr(other, what) >= getattr(one, what)
                and (other.kl, getattr(other, what)) != (one.kl, getattr(one, what))
                for other in measured
            )
            for one in measured
        ]
        wanted = {
            (one.kl, getattr(one, what)) for one, is_beaten in zip(measured, beaten, strict=True) if not is_beaten
        }
        found = envelope(points, what)
        assert {(one.kl, getattr(one, what)) for one in found} == wanted
        assert [one.kl for one in found] == sorted({one.kl for one in found})


def hacked(steps):
    """The reward climbs, the held-out score turns at the middle."""
    return [
        Reading(
            step=n,
            reward=n / 10,
            kl=n / 2,
            length=50.0,
            entropy=1.0,
            held_out=0.5 + n * (steps - n) / steps**2 if n % 5 == 0 else None,
        )
        for n in range(1, steps + 1)
    ]


def test_the_files_hold_every_point_and_the_best_ones(tmp_path):
    points = points_of(hacked(40))
    data, picture = write_frontier(tmp_path / "frontier", {"ppo": points, "other": points[:10]}, title="A run")
    found = json.loads(data.read_text())
    assert set(found) == {"ppo", "other"}
    assert found["ppo"]["points"][4] == {"step": 5, "kl": 2.5, "reward": 0.5, "held_out": 0.609375}
    assert found["ppo"]["best_steps"]["reward"] == list(range(1, 41))
    assert found["ppo"]["best_steps"]["held_out"] == [5, 10, 15, 20]  # and no later one: it fell
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frontier.json", "frontier.png"]


def test_the_same_run_gives_the_same_picture(tmp_path):
    points = points_of(hacked(40))
    one, other = (write_frontier(tmp_path / name, {"ppo": points})[1].read_bytes() for name in ("a", "b"))
    assert one == other


def test_without_held_out_scores_there_is_one_panel():
    plain = [Point(n, float(n), float(n)) for n in range(5)]
    assert len(draw({"ppo": plain}).axes) == 1
    assert len(draw({"ppo": points_of(hacked(10))}).axes) == 2
    assert draw({"a": plain, "b": plain}).axes[0].get_legend() is not None
