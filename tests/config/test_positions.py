"""The lines of keys, against files a person might write."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountfs.config.positions import Key, line_of, lines_of
from mountfs.config.text import toml

ODD = '''\
# a comment with [brackets] and = signs
first = 1 # trailing
"quoted key" = """
[not.a.table]
x = "1"
""""
'literal' = \'\'\'
y = 2\'\'\'\'
a.b . "c.d" = [ # items
  1, # one
  "two]",

  { x = 1, y = [3, 4] },
]
[t]
k = { in.ner = "}", z = 1979-05-27T07:32:00Z }
[t.u] # header comment
"esc\\"aped" = 'a'
[[list]]
n = 1
[[list]]
n = 2
[list.sub]
m = -1.5e3
'''


def test_odd_file() -> None:
    """Comments, all four kinds of string, dotted and quoted keys, inline tables, arrays and arrays of tables."""
    assert tomllib.loads(ODD)["a"]["b"]["c.d"][1] == "two]"
    lines = lines_of(ODD)
    expected: dict[Key, int] = {
        ("first",): 2,
        ("quoted key",): 3,
        ("literal",): 7,
        ("a", "b", "c.d"): 9,
        ("a", "b", "c.d", 0): 10,
        ("a", "b", "c.d", 1): 11,
        ("a", "b", "c.d", 2): 13,
        ("a", "b", "c.d", 2, "y", 1): 13,
        ("t",): 15,
        ("t", "k", "in", "ner"): 16,
        ("t", "k", "z"): 16,
        ("t", "u"): 17,
        ("t", "u", 'esc"aped'): 18,
        ("list", 0, "n"): 20,
        ("list", 1): 21,
        ("list", 1, "n"): 22,
        ("list", 1, "sub", "m"): 24,
    }
    assert {key: lines.get(key) for key in expected} == expected


def test_nearest_line() -> None:
    """A key that is missing is placed at the table it is missing from."""
    lines = lines_of("[providers.x]\nlist = true\n")
    assert line_of(lines, ("providers", "x", "type")) == 1
    assert line_of(lines, ("cache",)) is None


@pytest.mark.parametrize("text", ["", "\n\n", "# only this", "\ufeffa = 1"])
def test_little_files(text: str) -> None:
    """Files with nothing to find end the scan."""
    lines_of(text)


scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(keys, values, max_size=6))
def test_every_key_is_on_its_own_line(document: dict[str, Any]) -> None:
    """Whatever the values hold, each top-level pair written on its own line is found there, with all that is in it."""
    text = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in document.items())
    assert tomllib.loads(text) == document
    lines = lines_of(text)
    for number, (key, value) in enumerate(document.items(), start=1):
        for inner in paths(value):
            assert lines[(key, *inner)] == number


def paths(value: object) -> list[Key]:
    """The paths of everything inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((part, *rest) for part, inner in items for rest in paths(inner))]
