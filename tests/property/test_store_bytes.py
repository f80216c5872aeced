"""Cut or changed at any byte, a file of the store yields what is whole in it and nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.identity import digest
from rlaif.store import Store
from rlaif.store.journal import encode, read_journal
from rlaif.store.schema import results_of, sorted_table, table_of
from rlaif.store.segments import fault_of

ROWS = [(digest(n), {"logprob_a": -0.25 * n, "text": f"line\n{n} ünïcode"}) for n in range(3)]
LINES = [encode(key, value) for key, value in ROWS]


def read(path, content):
    path.write_bytes(content)
    damage = []
    return dict(results_of(read_journal(path, "judgments", damage, growing=False))), damage


def test_a_journal_cut_at_every_byte(tmp_path):
    whole = b"".join(LINES)
    for end in range(len(whole) + 1):
        complete = whole[:end].count(b"\n")
        found, damage = read(tmp_path / "a.journal", whole[:end])
        assert found == dict(ROWS[:complete])
        rest = whole[len(b"".join(LINES[:complete])) : end]
        assert [one.found for one in damage] == ([rest] if rest else [])


def test_a_journal_with_any_bit_of_any_byte_changed(tmp_path):
    whole = b"".join(LINES)
    for at in range(len(whole)):
        changed = whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :]
        found, damage = read(tmp_path / "a.journal", changed)
        assert damage, at
        assert found.items() <= dict(ROWS).items()
        assert len(found) >= len(ROWS) - 2  # a changed line end takes two lines with it
        assert b"".join(one.found for one in damage) in changed


def test_a_segment_cut_or_changed_at_every_byte(tmp_path):
    with Store(tmp_path) as store:
        for key, value in ROWS:
            store.append("judgments", key, value)
    (segment,) = (tmp_path / "judgments" / "segments").iterdir()
    whole = segment.read_bytes()
    assert fault_of(segment, segment.name) == ""
    for at in range(len(whole)):
        segment.write_bytes(whole[:at])
        assert fault_of(segment, segment.name) != ""
    for at in range(0, len(whole), 7):
        segment.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        assert fault_of(segment, segment.name) != ""


cells = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
names = st.sampled_from(["logprob_a", "logprob_b", "prompt_tokens", "choice_method", "value", "key", "else"])
values = st.dictionaries(names, st.recursive(cells, lambda inner: st.lists(inner, max_size=2), max_leaves=3))


@settings(deadline=None)
@given(st.dictionaries(st.binary(min_size=32, max_size=32).map(bytes.hex), values, max_size=6))
def test_a_table_holds_any_value_exactly(results):
    table = sorted_table(table_of("judgments", list(results), list(results.values()), "source"))
    found = list(results_of(table))
    assert [key for key, _ in found] == sorted(results)
    assert repr({key: dict(sorted(value.items())) for key, value in found}) == repr(
        {key: dict(sorted(results[key].items())) for key in sorted(results)}
    )


@given(st.lists(st.sampled_from([digest(n) for n in range(5)]), max_size=40))
def test_of_equal_keys_a_table_keeps_the_first(keys):
    table = sorted_table(table_of("x", keys, [{"n": n} for n in range(len(keys))], "source"))
    expected = {}
    for n, key in enumerate(keys):
        expected.setdefault(key, {"n": n})
    assert dict(results_of(table)) == expected
    assert table.num_rows == len(expected)
