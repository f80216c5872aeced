"""Canonical JSON is, byte for byte, what `json.dumps` writes with the options that were chosen once and for ever."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.identity import canonical_json, digest

cells = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
trees = st.recursive(cells, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(trees)
def test_canonical_json_is_that_of_json_dumps(value):
    expected = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    assert canonical_json(value) == expected
    assert digest(value) == hashlib.sha256(expected.encode("utf-8", "surrogatepass")).hexdigest()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), [-float("inf")]])
def test_what_is_no_number_has_no_canonical_json(wrong):
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"value": wrong})
