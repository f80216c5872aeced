"""The store: what was appended is there, whatever happened to the process, to the end of a file or to the disk."""

import json
import re
import resource
import subprocess
import sys

import pyarrow as pa
import pytest

from rlaif.errors import StoreError
from rlaif.identity import digest
from rlaif.store import Store
from rlaif.store import journal as journal_module
from rlaif.store.keys import hex_of


def key(name):
    return digest(str(name))


def journals(folder, kind="judgments"):
    return sorted((folder / kind / "journals").glob("*.journal"))


def segments(folder, kind="judgments"):
    return sorted((folder / kind / "segments").glob("*.parquet"))


def missing(store, names, kind="judgments"):
    return {name for chunk in store.missing(kind, [key(n) for n in names]) for name in hex_of(chunk)}


def die(store):
    """End as `kill -9` does: nothing is sealed."""
    store.close(is_clean=False)


VALUES = {
    "typed": {"logprob_a": -0.5, "logprob_b": -1.25, "uncovered": 0.0, "prompt_tokens": 12, "output_tokens": 1},
    "null is not absent": {"logprob_a": None, "logprob_b": -0.25},
    "an integer is not a float": {"logprob_a": 0, "prompt_tokens": 1.0},
    "more than we know": {"logprob_a": -0.5, "thought": {"deep": [1, None, "ünï\ncode"]}},
    "half a surrogate": {"choice_method": "\ud800", "text": "\udfff"},
    "a large integer": {"prompt_tokens": 2**70},
    "nothing": {},
    "value": {"value": {"value": 1}, "key": 2, "source": "x"},
}


@pytest.mark.parametrize("how", ["journal", "sealed", "batch", "another kind"])
def test_a_value_comes_back_exactly_as_it_was_given(tmp_path, how):
    kind = "a-new-kind" if how == "another kind" else "judgments"
    wanted = {key(name): value for name, value in VALUES.items()}
    store = Store(tmp_path)
    if how == "batch":
        store.append_many(kind, [*wanted.items(), *((key(n), {"logprob_a": -1.0 * n}) for n in range(5000))])
    else:
        for name, value in wanted.items():
            store.append(kind, name, value)
    assert store.get(kind, wanted) == wanted
    if how == "sealed":
        store.close()
        assert not journals(tmp_path)
        store = Store(tmp_path)
    found = store.get(kind, wanted)
    assert found == wanted
    assert json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)  # 0 is not 0.0, null not absent
    assert store.get("responses", wanted) == {}
    assert store.damage == []


def test_missing_is_the_wish_minus_the_store(tmp_path):
    with Store(tmp_path) as store:
        store.append_many("judgments", [(key(n), {"logprob_a": -1.0}) for n in range(5000)])
        store.append("judgments", key("one more"), {})
        assert missing(store, [1, "one more", "not there", 4999, 5000]) == {key("not there"), key(5000)}
        wish = pa.table({"key": [key(n) for n in range(4990, 5010)]})
        as_bytes = pa.array([bytes.fromhex(key(n)) for n in range(4990, 5010)])
        for form in (wish, wish["key"], as_bytes, iter([as_bytes]), iter(wish["key"].to_pylist())):
            assert sum(len(chunk) for chunk in store.missing("judgments", form)) == 10
        assert list(store.missing("judgments", [])) == []


def test_a_table_is_appended_by_its_columns(tmp_path):
    with Store(tmp_path) as store:
        store.append_many("judgments", pa.table({"key": [key(2), key(1)], "logprob_a": [-1.0, None]}))
        assert store.read("judgments") == {key(2): {"logprob_a": -1.0}, key(1): {}}
        with pytest.raises(ValueError, match="logprob_c"):
            store.append_many("judgments", pa.table({"key": [key(2)], "logprob_c": [-1.0]}))
        with pytest.raises(ValueError, match="not finite"):
            store.append_many("judgments", pa.table({"key": [key(2)], "logprob_a": [float("inf")]}))


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"key": ["0" * 64], "source": ["me"]}, "do not fit: ['source']"),
        ({"logprob_a": [-1.0]}, "a table of judgments has `key`"),
        ({"key": [None, "0" * 64]}, "a row of the table has no key"),
        ({"key": ["0" * 64], "value": ["{"]}, "holds JSON objects; this is none: '{'"),
        ({"key": ["0" * 64], "value": ["[1]"]}, "holds JSON objects; this is none: '[1]'"),
    ],
)
def test_a_table_that_could_not_be_read_back_is_not_taken(tmp_path, columns, found):
    with Store(tmp_path) as store:
        with pytest.raises(ValueError, match=re.escape(found)):
            store.append_many("judgments", pa.table(columns))
        store.append_many("judgments", pa.table({"key": ["1" * 64], "value": ['{"more":[1]}']}))
    assert Store(tmp_path).read("judgments") == {"1" * 64: {"more": [1]}}


@pytest.mark.parametrize("wrong", ["k1", "A" * 64, "0" * 63, "g" * 64, ""])
def test_what_is_no_digest_is_no_key(tmp_path, wrong):
    with Store(tmp_path) as store:
        with pytest.raises(ValueError, match="not a key"):
            store.append("judgments", wrong, {})
        with pytest.raises(ValueError, match="not keys"):
            list(store.missing("judgments", [key(1), wrong]))
        with pytest.raises(ValueError, match="not a kind"):
            store.append("../judgments", key(1), {})


def test_the_first_writer_wins_however_rows_are_sealed(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    first.append("judgments", key(1), {"n": "first"})
    second.append("judgments", key(1), {"n": "second"})
    first.append("judgments", key(1), {"n": "again"})

    def found():
        reader = Store(tmp_path)
        assert reader.get("judgments", [key(1)]) == reader.read("judgments")
        return reader.read("judgments")

    assert found() == {key(1): {"n": "first"}}
    second.close()
    assert found() == {key(1): {"n": "first"}}
    first.close()
    assert len(segments(tmp_path)) == 2
    assert found() == {key(1): {"n": "first"}}


def test_an_unfinished_last_line_is_announced_set_aside_and_redone(tmp_path):
    store = Store(tmp_path)
    store.append("judgments", key("whole"), {"n": 1})
    store.append("judgments", key("cut"), {"n": 2})
    die(store)
    (journal,) = journals(tmp_path)
    whole = journal.read_bytes()
    first_line = whole.index(b"\n") + 1
    for end in range(first_line + 1, len(whole), 5):  # at every byte: tests/property/test_store_bytes.py
        journal.write_bytes(whole[:end])
        store = Store(tmp_path)
        assert store.read("judgments") == {key("whole"): {"n": 1}}
        assert [str(one) for one in store.damage] == [f"{journal}, byte {first_line}: the line is unfinished"]
    with Store(tmp_path) as store:
        store.append("judgments", key("cut"), {"n": 3})
    assert not journals(tmp_path)
    (note,) = (tmp_path / "judgments" / "damaged").iterdir()
    assert note.name == f"{journal.name}@{first_line}.json"
    assert json.loads(note.read_text())["reason"] == "the line is unfinished"
    again = Store(tmp_path)
    assert again.read("judgments") == {key("whole"): {"n": 1}, key("cut"): {"n": 3}}
    assert again.damage == []


def test_the_unfinished_line_of_a_living_writer_is_no_damage(tmp_path):
    store = Store(tmp_path)
    store.append("judgments", key(1), {})
    (journal,) = journals(tmp_path)
    with journal.open("ab") as file:
        file.write(b"01234567 {half a li")
    reader = Store(tmp_path)
    assert reader.read("judgments") == {key(1): {}}
    assert reader.damage == []
    die(store)
    assert reader.read("judgments") == {key(1): {}}
    assert [one.found for one in reader.damage] == [b"01234567 {half a li"]


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path):
    store = Store(tmp_path)
    for name in "abc":
        store.append("judgments", key(name), {"n": name})
    die(store)
    (journal,) = journals(tmp_path)
    lines = journal.read_bytes().splitlines(keepends=True)
    changed = lines[1].replace(b'"n":"b"', b'"n":"x"')
    assert changed != lines[1]
    for damaged in (changed, b"\x00garbage\xff\n", lines[1][:20] + b"\n"):
        journal.write_bytes(lines[0] + damaged + lines[2])
        store = Store(tmp_path)
        assert store.read("judgments") == {key("a"): {"n": "a"}, key("c"): {"n": "c"}}
        assert [(damage.offset, damage.found) for damage in store.damage] == [(len(lines[0]), damaged)]


def test_a_damaged_segment_is_announced_set_aside_and_redone(tmp_path):
    with Store(tmp_path) as store:
        store.append_many("judgments", [(key(n), {"logprob_a": -0.5}) for n in range(5000)])
    (segment,) = segments(tmp_path)
    whole = segment.read_bytes()
    damages = [whole[:end] for end in (0, 1, 1000, len(whole) - 1)]
    damages += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (0, 5000, len(whole) // 2)]
    for content in damages:
        segment.write_bytes(content)
        store = Store(tmp_path)
        assert len(missing(store, range(5000))) == 5000
        assert [str(one) for one in store.damage] == [f"{segment}: the file does not fit its checksum"]
    with Store(tmp_path) as store:
        assert store.get("judgments", [key(1)]) == {}
        store.append("judgments", key(1), {"logprob_a": -0.25})
    assert sorted(path.name for path in (tmp_path / "judgments" / "damaged").iterdir()) == [
        segment.name,
        f"{segment.name}.json",
    ]
    assert Store(tmp_path).read("judgments") == {key(1): {"logprob_a": -0.25}}


def test_a_segment_that_was_mended_meanwhile_is_not_set_aside(tmp_path):
    """Another process sealed the same journal again after this one saw the damage."""
    with Store(tmp_path) as store:
        store.append("judgments", key(1), {})
    (segment,) = segments(tmp_path)
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-1])
    with Store(tmp_path) as store:
        assert store.read("judgments") == {}
        segment.write_bytes(whole)
        store.append("judgments", key(2), {})
    assert Store(tmp_path).read("judgments") == {key(1): {}, key(2): {}}


def test_a_segment_of_a_later_version_is_not_half_read(tmp_path, monkeypatch):
    from rlaif.store import schema

    with monkeypatch.context() as later:
        later.setitem(schema._COLUMNS, "judgments", {"mood": pa.string()})
        with Store(tmp_path) as store:
            store.append("judgments", key(1), {"mood": "fair"})
    with pytest.raises(StoreError, match=r"columns \['mood'\] of judgments are not known"):
        Store(tmp_path).read("judgments")


def test_a_column_that_came_later_is_read_beside_segments_without_it(tmp_path, monkeypatch):
    from rlaif.store import schema

    columns = dict(schema.columns_of("judgments"))
    with monkeypatch.context() as earlier:
        earlier.setitem(schema._COLUMNS, "judgments", {"logprob_a": pa.float64()})
        with Store(tmp_path) as store:
            store.append("judgments", key(1), {"logprob_a": -1.0, "logprob_b": -2.0})
    assert schema.columns_of("judgments") == columns
    with Store(tmp_path) as store:
        assert store.read("judgments") == {key(1): {"logprob_a": -1.0, "logprob_b": -2.0}}
        store.append("judgments", key(2), {"logprob_b": -3.0})
    assert Store(tmp_path).get("judgments", [key(1), key(2)]) == {
        key(1): {"logprob_a": -1.0, "logprob_b": -2.0},
        key(2): {"logprob_b": -3.0},
    }


def test_a_journal_of_another_machine_is_left_until_it_has_been_silent(tmp_path, monkeypatch):
    import os
    import time

    from rlaif.store import writing

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(writing, "this_machine", lambda: "0" * 8)
        store = Store(tmp_path)
        store.append("judgments", key(1), {})
        die(store)
    with Store(tmp_path) as store:
        store.append("judgments", key(2), {})
    (left,) = journals(tmp_path)
    os.utime(left, (time.time() - 4000,) * 2)
    with Store(tmp_path) as store:
        store.append("judgments", key(3), {})
    assert not journals(tmp_path)
    assert len(Store(tmp_path).read("judgments")) == 3


def test_a_fork_writes_a_journal_of_its_own(tmp_path):
    code = (
        "import os, sys; from rlaif.store import Store\n"
        "store = Store(sys.argv[1]); store.append('judgments', '0' * 64, {})\n"
        "child = os.fork()\n"
        "store.append('judgments', ('1' if child else '2') * 64, {})\n"
        "if not child: os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, tmp_path], check=True)
    assert len(journals(tmp_path)) == 2
    assert set(Store(tmp_path).read("judgments")) == {"0" * 64, "1" * 64, "2" * 64}


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "store.close(); os._exit(0)"])
def test_a_fork_that_ends_takes_nothing_from_the_one_that_made_it(tmp_path, end):
    code = (
        "import os, sys; from rlaif.store import Store\n"
        "store = Store(sys.argv[1]); store.append('judgments', '0' * 64, {}); store.read('judgments')\n"
        "child = os.fork()\n"
        "if not child:\n"
        f"    store.read('judgments'); {end}\n"
        "os.waitpid(child, 0)\n"
        "store.append('judgments', '1' * 64, {}); assert len(store.read('judgments')) == 2; store.close()\n"
        "assert not store.scratch.exists()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, tmp_path], check=True, timeout=300)
    assert len(segments(tmp_path)) == 1


def test_a_long_journal_is_sealed_and_continued_in_another(tmp_path, monkeypatch):
    from rlaif.store import store as module

    monkeypatch.setattr(module, "_JOURNAL_BYTES", 1000)
    store = Store(tmp_path)
    for n in range(30):
        store.append("judgments", key(n), {"n": n})
    assert (len(journals(tmp_path)), len(segments(tmp_path))) == (1, 2)
    assert missing(store, range(30)) == set()
    store.close()
    assert (len(journals(tmp_path)), len(segments(tmp_path))) == (0, 3)


def test_a_journal_that_cannot_be_sealed_in_passing_is_sealed_at_the_close(tmp_path, monkeypatch):
    from rlaif.store import store as module

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_JOURNAL_BYTES", 1000)
    store = Store(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(module, "seal", refuse)
        for n in range(30):
            store.append("judgments", key(n), {"n": n})
    assert (len(journals(tmp_path)), len(segments(tmp_path))) == (3, 0)
    assert missing(store, range(30)) == set()
    store.close()
    assert (len(journals(tmp_path)), len(segments(tmp_path))) == (0, 3)


def test_a_journal_that_was_silent_for_long_is_continued_in_another(tmp_path, monkeypatch):
    """Another machine takes a journal without a line for an hour to be finished, seals it and removes it."""
    store = Store(tmp_path)
    store.append("judgments", key(1), {})
    store.append("judgments", key(2), {})
    assert len(journals(tmp_path)) == 1
    monkeypatch.setattr(journal_module, "SILENT_S", 0.0)
    store.append("judgments", key(3), {})
    assert (len(journals(tmp_path)), len(segments(tmp_path))) == (1, 1)
    assert missing(store, [1, 2, 3]) == set()


def test_an_append_that_failed_leaves_no_hole_for_the_next_one(tmp_path):
    """The disk is full in the middle of a line; space is made, and the same process goes on."""
    code = (
        "import resource, signal, sys; from rlaif.store import Store\n"
        "from rlaif.errors import StoreError; from rlaif.identity import digest\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); store = Store(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (450, -1))\n"
        "for n in range(9):\n"
        "    try:\n"
        "        store.append('judgments', digest(str(n)), {'n': n}); print(n, flush=True)\n"
        "    except StoreError:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert len(ended.stdout.split()) == 8
    store = Store(tmp_path)
    assert store.read("judgments") == {key(n): {"n": int(n)} for n in ended.stdout.split()}
    assert store.damage == []


def test_an_interrupted_append_takes_no_other_line_with_it(tmp_path):
    """Ctrl-C after the kernel took a line and before it was counted, then a full disk: what was acknowledged stays."""
    store = Store(tmp_path)
    store.append("judgments", key(1), {"n": 1})
    writer = store._writers["judgments"]
    real = writer._file

    class Interrupted:
        def write(self, lines):
            real.write(lines)
            raise KeyboardInterrupt

        truncate, seek = real.truncate, real.seek

    writer._file = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        store.append("judgments", key(2), {"n": 2})
    writer._file = real
    store.append("judgments", key(3), {"n": 3})
    assert store.read("judgments") == {key(n): {"n": n} for n in (1, 3)}
    assert store.damage == []


@pytest.mark.parametrize("size", [100, 5000])
def test_a_full_disk_is_one_clear_error_and_nothing_is_corrupt(tmp_path, size):
    """A limit on the size of a file stands for the full disk: the kernel takes a part of a line, then refuses."""
    code = (
        "import resource, signal, sys; from rlaif.store import Store; from rlaif.identity import digest\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); store = Store(sys.argv[1])\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "for n in range(10**6):\n"
        "    store.append('judgments', digest(str(n)), {'n': n}); print(n, flush=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert "StoreError" in ended.stderr
    assert "the disk is full.\nMake space and run the same command again" in ended.stderr
    said = {key(n) for n in ended.stdout.split()}
    store = Store(tmp_path)
    assert set(store.read("judgments")) == said
    assert store.damage == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_disk_full_while_sealing_leaves_the_journal(tmp_path):
    store = Store(tmp_path)
    for n in range(100):
        store.append("judgments", key(n), {"n": n})
    die(store)
    code = (
        "import resource, signal, sys; from rlaif.store import Store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); Store(sys.argv[1]).seal('judgments')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert "the disk is full" in ended.stderr
    assert len(journals(tmp_path)) == 1
    assert not segments(tmp_path)
    assert not list((tmp_path / "judgments" / "segments").iterdir())
    assert len(Store(tmp_path).read("judgments")) == 100
    Store(tmp_path).seal("judgments")
    assert len(Store(tmp_path).read("judgments")) == 100


def test_a_folder_with_a_pattern_for_a_name_is_a_folder(tmp_path):
    folder = tmp_path / "a[1]*b'?"
    with Store(tmp_path / "a1b'b") as store:
        store.append("judgments", key(2), {})
    with Store(folder) as store:
        store.append("judgments", key(1), {})
    assert Store(folder).read("judgments") == {key(1): {}}
