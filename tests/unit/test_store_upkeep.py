"""Counting, checking, merging and cleaning a store, as functions and as `rlaif store`."""

import json
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rlaif.cli import main
from rlaif.errors import StoreError
from rlaif.identity import digest
from rlaif.store import Store, lookup, merging
from rlaif.store.gc import collect
from rlaif.store.merging import CROWD, crowd_of
from rlaif.store.shelf import LocalShelf
from rlaif.store.upkeep import alone, compact, stats, verify
from rlaif.store.wanted import read_wanted, write_wanted


def rows(first, last):
    return {digest(n): {"logprob_a": -1.0 * n} for n in range(first, last)}


def fill(root, first, last, kind="judgments"):
    with Store(root) as store:
        for key, value in rows(first, last).items():
            store.append(kind, key, value)


@pytest.fixture
def outputs(tmp_path):
    """Three segments with overlaps, one other kind, and a run that wants a part of each."""
    root = tmp_path / "outputs"
    for first in (0, 8, 16):
        fill(root / "store", first, first + 10)
    fill(root / "store", 0, 3, kind="critiques")
    write_wanted(
        root / "runs" / "one", {"judgments": list(rows(5, 12)), "critiques": [], "responses": list(rows(12, 14))}
    )
    return root


@pytest.fixture
def rlaif(capsys):
    def call(*words):
        try:
            main.run(["store", *map(str, words)])
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def segments(outputs, kind="judgments"):
    return sorted((outputs / "store" / kind / "segments").iterdir())


def test_a_merge_keeps_every_answer_and_each_key_once(outputs):
    with Store(outputs / "store") as store:
        before = store.read("judgments")
        merged = {one.kind: one for one in compact(store)}
        assert (merged["judgments"].before, merged["judgments"].after) == (3, 1)
        assert (merged["critiques"].before, merged["critiques"].after) == (1, 1)
        assert store.read("judgments") == before == rows(0, 26)
        assert verify(store).rows == 26 + 3
        (segment,) = segments(outputs)
        again = compact(store)
        assert segments(outputs) == [segment]
        assert {one.after for one in again} == {1}


class Killed(BaseException):
    """Stands for `kill -9`."""


@pytest.mark.parametrize("job", ["seal", "compact", "gc"])
@pytest.mark.parametrize("point", ["before place", "after place", "before remove", "before unlink"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_death_at_any_point_of_upkeep_loses_nothing(outputs, monkeypatch, job, point, nth):
    """A file is about to be placed, was just placed, is about to be removed: for the first or the second time."""
    dead = Store(outputs / "store")
    dead.append_many("judgments", rows(50, 60).items())
    dead.close(is_clean=False)
    store = Store(outputs / "store")
    expected = store.read("judgments")
    when, name = point.split()
    owner = Path if name == "unlink" else LocalShelf
    real, calls = getattr(owner, name), []

    def fatal(*arguments, **more):
        if not str(arguments[-1]).endswith(".partial"):
            calls.append(arguments)
        if len(calls) == nth and when == "before":
            raise Killed
        real(*arguments, **more)
        if len(calls) == nth:
            raise Killed

    with monkeypatch.context() as deadly, suppress(Killed):
        deadly.setattr(owner, name, fatal)
        if job == "seal":
            store.seal("judgments")
        elif job == "compact":
            compact(store)
        else:
            collect(store, [outputs])
    found = store.read("judgments")
    assert found.items() <= expected.items()
    assert found.keys() >= (expected if job != "gc" else rows(5, 12)).keys()
    assert store.damage == verify(store).damage == []
    store.seal("judgments")
    collect(store, [outputs])
    assert store.read("judgments") == rows(5, 12)


def test_a_lookup_while_its_files_are_merged_answers_the_same(outputs, monkeypatch):
    reader, real = Store(outputs / "store"), lookup.select_from

    def merged_first(*arguments):
        monkeypatch.undo()
        compact(Store(outputs / "store"))
        real(*arguments)

    monkeypatch.setattr(lookup, "select_from", merged_first)
    assert reader.read("judgments") == rows(0, 26)
    assert len(segments(outputs)) == 1


def test_a_folder_that_changes_while_it_is_listed_is_listed_again(outputs, monkeypatch):
    """A merge placed its file behind the listing's back and removed one the listing had not come to."""
    store = Store(outputs / "store")
    whole = store.shelf.sizes("judgments/segments")
    torn = dict(list(whole.items())[:1])
    looks = [torn, whole, whole]
    monkeypatch.setattr(store.shelf, "sizes", lambda folder: looks.pop(0) if folder.endswith("segments") else {})
    assert store.read("judgments") == rows(0, 26)


def test_a_large_segment_is_left_alone_and_a_merge_is_cut_into_pieces(outputs, monkeypatch):
    monkeypatch.setattr(lookup, "BATCH", 4)
    with Store(outputs / "store") as store:
        fill(outputs / "store", 100, 130)
        large = max(segments(outputs), key=lambda path: pq.read_metadata(path).num_rows)
        compact(store, full_rows=12)
        assert large in segments(outputs)
        sizes = sorted(pq.read_metadata(path).num_rows for path in segments(outputs))
        assert sum(sizes) == 30 + 26
        assert len(sizes) > 2
        assert store.read("judgments") == rows(0, 26) | rows(100, 130)


def test_many_small_runs_leave_few_segments(tmp_path):
    """Runs of one result each: the segments stay below the crowd, however many they are, and every answer is there."""
    most = 0
    for n in range(70):
        fill(tmp_path / "store", n, n + 1)
        most = max(most, len(segments(tmp_path)))
    assert most == CROWD - 1
    with Store(tmp_path / "store") as store:
        assert store.read("judgments") == rows(0, 70)
        assert verify(store).rows == 70


def test_a_close_merges_what_is_small_and_alike_and_never_very_much():
    small = {f"small-{n}": 5_000 + n for n in range(CROWD)}
    large = {f"large-{n}": 3 * 2**20 + n for n in range(CROWD)}
    huge = {f"huge-{n}": 2**26 + n for n in range(100)}
    assert crowd_of(small | large | huge) == list(small)
    assert crowd_of(dict(list(small.items())[1:]) | large | huge) == list(large)
    assert crowd_of(dict(list(small.items())[1:]) | dict(list(large.items())[1:]) | huge) == []
    thousands = {f"{n}": 900_000 for n in range(1000)}
    assert CROWD <= len(crowd_of(thousands)) <= 2**26 / 900_000
    assert crowd_of({}) == []


def test_a_close_leaves_the_merging_to_whoever_is_at_it(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "CROWD", 2)
    with Store(tmp_path / "store") as other:
        other.append("judgments", digest("other"), {})
        with alone(other):
            for n in range(4):
                fill(tmp_path / "store", n, n + 1)
        assert len(segments(tmp_path)) == 4
    assert len(segments(tmp_path)) == 1
    assert len(Store(tmp_path / "store").read("judgments")) == 5


def test_a_merge_that_cannot_be_done_at_a_close_costs_nothing(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merging, "CROWD", 2)
    fill(tmp_path / "store", 0, 5)
    with monkeypatch.context() as disk:
        disk.setattr(merging, "replace", full)
        fill(tmp_path / "store", 5, 9)
    assert len(segments(tmp_path)) == 2
    assert Store(tmp_path / "store").read("judgments") == rows(0, 9)


def test_a_damaged_segment_stays_out_of_the_merge_at_a_close(outputs, monkeypatch):
    monkeypatch.setattr(merging, "CROWD", 2)
    damaged = segments(outputs)[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    known = Store(outputs / "store").read("judgments")
    fill(outputs / "store", 50, 51)
    assert Store(outputs / "store").read("judgments") == known | rows(50, 51)
    assert damaged.exists() or (outputs / "store/judgments/damaged" / damaged.name).exists()


def test_figures_are_counted_again_when_files_are_merged_meanwhile(outputs, monkeypatch):
    """`stats` and `gc --dry-run` beside a run that ends."""
    reader, real = Store(outputs / "store"), lookup.select_from

    def merged_first(connection, files, kind):
        if kind == "judgments":
            monkeypatch.undo()
            compact(Store(outputs / "store"))
        real(connection, files, kind)

    monkeypatch.setattr(lookup, "select_from", merged_first)
    assert [one.unwanted for one in collect(reader, [outputs], dry_run=True)] == [3, 19]
    living = Store(outputs / "store")
    living.append("judgments", digest("x"), {})
    (journal,) = reader.journal_paths("judgments")
    monkeypatch.setattr(reader, "journal_paths", lambda kind: [journal.with_name("gone.journal")])
    assert [one.journals for one in stats(reader)] == [0, 0]


def test_what_is_damaged_is_not_merged_away(outputs):
    damaged = segments(outputs)[1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with Store(outputs / "store") as store:
        compact(store)
        assert [one.path for one in store.damage] == [str(damaged)]
    assert damaged.exists()
    assert len(segments(outputs)) == 2


def test_one_merge_at_a_time(outputs):
    first, second = Store(outputs / "store"), Store(outputs / "store")
    with alone(first), pytest.raises(StoreError, match="another compaction"):
        compact(second)
    compact(second)


def test_gc_removes_only_what_no_run_wants(outputs):
    write_wanted(outputs / "runs" / "two", {"judgments": iter(rows(24, 30))})
    with Store(outputs / "store") as store:
        (critiques, judgments) = collect(store, [outputs], dry_run=True)
        assert (judgments.rows, judgments.unwanted, judgments.bytes_after) == (30, 19, None)
        assert (critiques.rows, critiques.unwanted) == (3, 3)
        assert store.read("judgments") == rows(0, 26)
        collect(store, [outputs])
        assert store.read("judgments") == rows(5, 12) | rows(24, 26)
        assert store.read("critiques") == {}
        assert segments(outputs, "critiques") == []
        assert verify(store).damage == []
        names = segments(outputs)
        assert all(one.unwanted == 0 for one in collect(store, [outputs]))
        assert segments(outputs) == names
        collect(store, [outputs], forget=["one"])
        assert store.read("judgments") == rows(24, 26)


def test_gc_leaves_the_journal_of_a_living_writer(outputs):
    store = Store(outputs / "store")
    store.append("judgments", digest("new"), {})
    collect(Store(outputs / "store"), [outputs])
    assert digest("new") in store.read("judgments")


def test_a_run_that_does_not_say_what_it_wants_wants_everything(outputs):
    (outputs / "runs" / "silent").mkdir()
    with Store(outputs / "store") as store:
        with pytest.raises(StoreError, match=r"do not say what they want.*silent.*\n.*--forget-run silent"):
            collect(store, [outputs])
        assert store.read("judgments") == rows(0, 26)
        collect(store, [outputs], forget=["silent"])
        assert store.read("judgments") == rows(5, 12)


@pytest.mark.parametrize("forget", [[], ["one"]])
def test_gc_without_any_run_removes_nothing(outputs, forget):
    place = outputs if forget else outputs / "not-there"
    with Store(outputs / "store") as store:
        with pytest.raises(StoreError, match="everything would be removed"):
            collect(store, [place], forget=forget if place == outputs else ())
        with pytest.raises(StoreError, match="no run 'onne'"):
            collect(store, [outputs], forget=["onne"])
        assert store.read("judgments") == rows(0, 26)


def test_a_damaged_wish_removes_nothing(outputs):
    wish = outputs / "runs" / "one" / "wanted.parquet"
    wish.write_bytes(wish.read_bytes()[:-9])
    with Store(outputs / "store") as store:
        with pytest.raises(StoreError, match="cannot be read"):
            collect(store, [outputs])
        assert store.read("judgments") == rows(0, 26)


def test_a_wish_is_written_whole_or_not_at_all(tmp_path):
    write_wanted(tmp_path, {"judgments": list(rows(0, 3))})

    def failing():
        yield digest(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_wanted(tmp_path, {"judgments": failing()})
    assert [path.name for path in tmp_path.iterdir()] == ["wanted.parquet"]
    assert sum(len(chunk) for chunk in read_wanted([tmp_path], "judgments")) == 3


def test_stats_at_the_command_line(outputs, rlaif):
    living = Store(outputs / "store")
    living.append("judgments", digest("x"), {})
    code, out, err = rlaif("stats", "--output", outputs, "--json")
    assert (code, err) == (0, "")
    critiques, judgments = json.loads(out)
    assert (critiques["kind"], critiques["rows"], critiques["segments"]) == ("critiques", 3, 1)
    assert (judgments["rows"], judgments["segments"], judgments["journals"]) == (31, 3, 1)
    assert judgments["journals_growing"] == 1
    assert judgments["segment_bytes"] == sum(path.stat().st_size for path in segments(outputs))
    code, out, _ = rlaif("stats", "--output", outputs)
    assert code == 0
    assert "judgments: 31 rows in 3 segments and 1 journals (1 growing)" in out


def test_verify_at_the_command_line(outputs, rlaif):
    code, out, err = rlaif("verify", "--output", outputs, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"segments": 4, "journals": 0, "rows": 33, "damage": []}
    damaged = segments(outputs)[0]
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)
    code, out, err = rlaif("verify", "--output", outputs)
    assert code == 4
    assert f"{damaged}: the file does not fit its checksum" in err
    assert damaged.read_bytes() == content  # a check changes nothing
    damaged.write_bytes(content[:-1])
    _, judgments = json.loads(rlaif("stats", "--output", outputs, "--json")[1])
    assert (judgments["rows"], judgments["unreadable"]) == (20, 1)


def test_a_segment_out_of_order_is_found(outputs):
    from rlaif.store import segments as module

    with Store(outputs / "store") as store:
        (_, path) = sorted(store.sound_segments("judgments").items())[0]
        table = pq.read_table(path)
        module.write_segment(store.shelf, "judgments", [table.slice(1, 3), table.slice(0, 1)])
        module.write_segment(store.shelf, "judgments", [table.slice(0, 1), table.slice(0, 1)])
        found = [str(one) for one in verify(store).damage]
    assert sorted(line.split(": ")[1] for line in found) == [
        "row 1 is not after the row before it",
        "row 3 is not after the row before it",
    ]


def test_gc_and_compact_at_the_command_line(outputs, rlaif):
    code, out, _ = rlaif("gc", "--output", outputs, "--dry-run")
    assert code == 0
    assert "judgments: 21 of 30 would be removed" in out
    assert json.loads(rlaif("compact", "--output", outputs, "--json")[1])[1]["after"] == 1
    assert "judgments: 1 segments, now 1" in rlaif("compact", "--output", outputs)[1]
    code, out, _ = rlaif("gc", "--output", outputs, "--json")
    assert [kind["unwanted"] for kind in json.loads(out)] == [3, 19]
    assert Store(outputs / "store").read("judgments") == rows(5, 12)
    (outputs / "runs" / "silent").mkdir()
    code, _, err = rlaif("gc", "--output", outputs)
    assert code == 4
    assert "--forget-run silent" in err
    assert rlaif("gc", "--output", outputs, "--forget-run", "silent")[0] == 0


def test_a_folder_without_a_store_is_said_to_have_none(tmp_path, rlaif):
    for command in ("stats", "verify", "gc", "compact"):
        code, _, err = rlaif(command, "--output", tmp_path)
        assert code == 4
        assert "there is no store here" in err
    assert list(tmp_path.iterdir()) == []
