"""zip.md, "Names and tree": the rows that concern one name alone (those of names against names: tests/tree)."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zips import FAT, NTFS, OSX, UNIX, UTF8, Part, archive, extra, parse, paths, unicode_path

from mountfs.zipformat import names
from mountfs.zipformat.names import Numbering, cut, printable, safe_path

CP437_NAME = b"caf\x82"  # "café" on a DOS machine; no UTF-8


def shown(*parts: Part) -> list[bytes]:
    return paths(parse(archive(*parts)))


def remarks(*parts: Part) -> dict[str, int]:
    return parse(archive(*parts)).remarks.counts


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/etc/x", b"etc/x"),
        ("///etc//x", b"etc/x"),
        ("./a", b"a"),
        ("a/./b//c", b"a/b/c"),
        ("a/b/", b"a/b"),
        ("a/b/.", b"a/b"),
        ("a/b//", b"a/b"),
        ("...", b"..."),
        ("a/..b/c..", b"a/..b/c.."),
        (" ", b" "),
        ("a b", b"a b"),
        ("C:/x", b"C:/x"),
        ("a\tb\x1b[0m\n", b"a\tb\x1b[0m\n"),
        ("e\u0301", b"e\xcc\x81"),
        ("\u00e9", b"\xc3\xa9"),
        ("README", b"README"),
        ("readme", b"readme"),
    ],
)
def test_names_become_relative_paths(name: str, path: bytes) -> None:
    """Leading slashes go, "." and empty components collapse, everything else keeps its bytes."""
    assert shown(Part(name)) == [path]


@pytest.mark.parametrize("name", ["..", "../x", "a/../b", "a/..", "/../etc/passwd", "a/b/../../../c", "../"])
def test_a_parent_component_hides_the_member(name: str) -> None:
    """ ".." is never resolved: the member is hidden and counted."""
    assert shown(Part(name), Part("b")) == [b"b"]
    assert remarks(Part(name)) == {names.HIDDEN_PARENT: 1}


@pytest.mark.parametrize("name", ["", "/", ".", "./", "//", "/./"])
def test_a_name_without_components_hides_the_member(name: str) -> None:
    """Where collapsing leaves nothing, there is nothing to show."""
    assert shown(Part(name), Part("b")) == [b"b"]
    assert remarks(Part(name)) == {names.HIDDEN_NAMELESS: 1}


@pytest.mark.parametrize("host", [FAT, NTFS, 11, 14])
def test_backslashes_separate_on_dos_hosts(host: int) -> None:
    """A FAT-like writer's name without any "/" is split at its backslashes."""
    assert shown(Part("a\\b\\c.txt", host=host)) == [b"a/b/c.txt"]
    assert shown(Part("..\\evil", host=host)) == []
    assert shown(Part("\\server\\x", host=host)) == [b"server/x"]


def test_backslashes_are_kept_elsewhere() -> None:
    """A backslash is an ordinary byte on Unix, and where "/" is used as well."""
    assert shown(Part("a\\b", host=UNIX), Part("a/b\\c", host=FAT), Part("x\\y", host=OSX)) == [
        b"a\\b",
        b"a/b\\c",
        b"x\\y",
    ]


def test_nul_is_replaced_never_cut() -> None:
    """Cutting at NUL would let one name pose as another."""
    assert shown(Part(b"safe.txt\0.exe"), Part("safe.txt")) == [b"safe.txt_.exe", b"safe.txt"]
    assert remarks(Part(b"a\0")) == {names.RENAMED_NUL: 1}


def test_absolute_names_are_remarked() -> None:
    """What was done to a name is counted under its reason."""
    assert remarks(Part("/a"), Part("/b"), Part("c")) == {names.RENAMED_ABSOLUTE: 2}


@pytest.mark.parametrize("length", [255, 256, 300, 4000])
def test_long_components_are_cut(length: int) -> None:
    """A component over 255 bytes is cut, its extension kept, "~" and 8 hex digits of its SHA-256 put in."""
    name = b"n" * (length - 4) + b".txt"
    (path,) = shown(Part(b"d/" + name))
    component = path.removeprefix(b"d/")
    assert len(component) == 255
    if length == 255:
        assert component == name
    else:
        mark = b"~" + hashlib.sha256(name).hexdigest()[:8].encode()
        assert component.endswith(mark + b".txt")


def test_long_components_are_cut_between_characters() -> None:
    """Cutting never leaves half a UTF-8 character."""
    for pad in range(4):
        component = cut(("x" * pad + "\u20ac" * 200).encode())
        component.decode()
        assert 250 <= len(component) <= 255


def test_a_far_dot_is_no_extension() -> None:
    """What follows a dot but is longer than any extension is cut like the rest."""
    assert len(cut(b"a." + b"x" * 300)) == 255


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        (b"/".join([b"d"] * 256), False),
        (b"/".join([b"d"] * 257), True),
        (b"/".join([b"d" * 255] * 16), False),  # 4095 bytes
        (b"/".join([b"d" * 240] * 17), False),  # 4096
        (b"/".join([b"d" * 240] * 17) + b"d", True),
        (b"/".join([b"d"] * 2000), True),
        (b"x" * 65535, False),
    ],
)
def test_deep_and_long_paths_are_hidden(name: bytes, hidden: bool) -> None:
    """Depth over 256 and paths over 4096 bytes break clients."""
    parts = (Part(name), Part("b"))
    assert len(shown(*parts)) == (1 if hidden else 2)
    assert remarks(*parts).get(names.HIDDEN_DEEP, 0) == hidden


@pytest.mark.parametrize("host", [UNIX, FAT])
def test_utf8_is_believed_without_its_flag(host: int) -> None:
    """Valid UTF-8 is UTF-8, whatever the flags and the host say."""
    assert shown(Part("grün".encode(), flags=0, host=host)) == ["grün".encode()]


def test_cp437_on_dos_hosts_only() -> None:
    """Not UTF-8 and no flag: CP437 from a FAT-like host, else the raw bytes."""
    assert shown(Part(CP437_NAME, flags=0, host=FAT)) == ["café".encode()]
    assert shown(Part(CP437_NAME, flags=0, host=UNIX)) == [CP437_NAME]
    assert remarks(Part(CP437_NAME, flags=0, host=FAT)) == {names.RENAMED_CP437: 1}


def test_broken_utf8_fails_nothing() -> None:
    """Flag 11 with invalid UTF-8: the raw bytes are the name."""
    assert shown(Part(CP437_NAME, flags=UTF8, host=FAT), Part("b")) == [CP437_NAME, b"b"]


def test_unicode_path_is_honoured() -> None:
    """Extra field 0x7075 gives the name if version, CRC and UTF-8 are right and flag 11 is unset."""
    raw = b"caf?"
    good = unicode_path(raw, "café".encode())
    assert shown(Part(raw, flags=0, extra=good)) == ["café".encode()]
    assert shown(Part(raw, flags=0, extra=extra(0x9999, b"..") + good)) == ["café".encode()]
    for bad in (
        unicode_path(raw, "café".encode(), version=2),
        unicode_path(raw, "café".encode(), crc=zlib.crc32(b"other")),
        unicode_path(raw, CP437_NAME),
        extra(0x7075, b"\x01\x02"),
        b"up",
    ):
        assert shown(Part(raw, flags=0, extra=bad)) == [raw]
    assert shown(Part(raw, flags=UTF8, extra=good)) == [raw]


def test_unicode_path_obeys_the_same_rules() -> None:
    """A Unicode path is an attacker's too."""
    for name, path in ((b"../x", []), (b"/x", [b"x"]), (b"x\0y", [b"x_y"])):
        assert shown(Part(b"raw", flags=0, extra=unicode_path(b"raw", name))) == path


def test_a_unicode_path_decides_what_is_a_directory() -> None:
    """The slash that makes a directory is the shown name's."""
    directory = parse(archive(Part(b"raw", flags=0, extra=unicode_path(b"raw", b"d/"))))
    assert list(directory.names()) == [(0, b"d", True)]


def test_control_characters_are_escaped_for_people() -> None:
    """Logs and terminals never get an attacker's control characters, nor half-decoded bytes."""
    assert printable(b"a\x1b[31m\nb") == "a\\x1b[31m\\nb"
    assert printable(CP437_NAME) == "caf\\x82"
    assert printable("grün/日本".encode()) == "grün/日本"
    assert printable("\u202e\u200b".encode()) == "\\u202e\\u200b"


@given(st.binary(max_size=600), st.sampled_from([0, 3, 10, 11, 14, 19, 255]), st.booleans())
def test_every_safe_path_is_safe(name: bytes, host: int, flag: bool) -> None:
    """Whatever the bytes, what is shown has no empty, ".", ".." or overlong component and no NUL."""
    found = parse(archive(Part(name, host=host, flags=UTF8 if flag else 0)))
    for path in paths(found):
        components = path.split(b"/")
        assert not {b"", b".", b".."} & set(components)
        assert b"\0" not in path
        assert len(path) <= names.MAX_PATH
        assert len(components) <= names.MAX_DEPTH
        assert all(len(component) <= names.MAX_COMPONENT for component in components)
        assert safe_path(path).path == path


@given(st.binary(max_size=40))
def test_the_fast_test_for_plain_names_agrees_with_the_rules(name: bytes) -> None:
    """The scanner's inlined test and the rules in names.py never differ."""
    found = parse(archive(Part(name, flags=0)))
    expected = safe_path(name)
    assert paths(found) == ([] if expected.path is None else [expected.path])


def test_numbering_counts_on() -> None:
    """Displaced names are numbered before their extension, past what is taken, and in linear time."""
    numbering = Numbering({b"a", b"a.txt", b"a (1).txt"})
    assert numbering.free(b"a") == b"a (1)"
    assert numbering.free(b"a.txt") == b"a (2).txt"
    assert numbering.free(b"a.txt") == b"a (3).txt"
    assert numbering.free(b".bashrc") == b".bashrc (1)"
    assert numbering.free(b"x", under=b"d/") == b"d/x (1)"
    assert len(numbering.free(b"n" * 255)) == 255
