"""The tree of a snapshot: zip.md's rows of names against names, and everything Namespace promises."""

from __future__ import annotations

import dataclasses
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zips import DIRECTORY, LINK, Part, archive, many, parse

from mountfs.errors import LimitExceeded
from mountfs.model import Kind, Member, MemberPath, Remarks, Shape
from mountfs.tree import ROOT, Listing, MemberTable, Namespace
from mountfs.tree import namespace as module
from mountfs.tree.builder import DISPLACED, SHADOWED
from mountfs.tree.members import REPEATED

PLAIN = Shape()


def member(path: bytes, kind: Kind = Kind.FILE, mtime_ns: int = 0) -> Member:
    return Member(path=MemberPath(path), kind=kind, size=0, mtime_ns=mtime_ns)


def table(*paths: bytes) -> MemberTable:
    """Files and, where a path ends in a slash, directories."""
    return MemberTable(
        member(path.rstrip(b"/"), Kind.DIRECTORY if path.endswith(b"/") else Kind.FILE, 1000 + number)
        for number, path in enumerate(paths)
    )


def tree(*paths: bytes, shape: Shape = PLAIN) -> Namespace:
    return Namespace(table(*paths), shape, root_mtime_ns=7)


def shown(namespace: Namespace, directory: int = ROOT) -> dict[bytes, int]:
    """Every path below a directory, with its node."""
    found: dict[bytes, int] = {}
    listing = namespace.listing(directory)
    for name, node in zip(listing.names, listing.nodes, strict=True):
        assert namespace.child(directory, name) == node
        assert namespace.parent(node) == directory
        assert namespace.name(node) == name
        path = namespace.path(node)
        assert namespace.resolve(path) == node
        found[path] = node
        if node < 0:
            found |= shown(namespace, node)
    return found


def test_a_tree() -> None:
    """Members appear under their directories, which are made; listings are in byte order."""
    namespace = tree(b"b/y", b"a", b"b/x/1", b"B", b"b/x/0", b"\xc3\xa9")
    assert namespace.listing(ROOT).names == (b"B", b"a", b"b", b"\xc3\xa9")
    assert list(shown(namespace)) == [b"B", b"a", b"b", b"b/x", b"b/x/0", b"b/x/1", b"b/y", b"\xc3\xa9"]
    assert (namespace.files, namespace.directories) == (6, 3)


def test_nothing() -> None:
    """An empty archive is an empty root."""
    namespace = tree()
    assert len(namespace.listing(ROOT)) == 0
    assert namespace.child(ROOT, b"x") is None
    assert namespace.resolve(b"") == ROOT
    assert namespace.path(ROOT) == namespace.name(ROOT) == b""
    assert (namespace.parent(ROOT), namespace.depth(ROOT), namespace.mtime_ns(ROOT)) == (ROOT, 0, 7)
    assert (namespace.files, namespace.directories) == (0, 1)


def test_what_is_not_there() -> None:
    """Unknown names, paths through files, and paths below nothing are None."""
    namespace = tree(b"a/b")
    for path in (b"x", b"a/x", b"a/b/c", b"x/y/z", b"a/b/c/d"):
        assert namespace.resolve(path) is None
    assert namespace.child(ROOT, b"") is None
    assert namespace.child(ROOT, b"a/b") is None


def test_duplicates_the_last_one_wins() -> None:
    """Last in directory order; the others are counted and have no parent."""
    namespace = tree(b"d/a", b"x", b"d/a", b"d/a")
    assert shown(namespace) == {b"d": -2, b"d/a": 3, b"x": 1}
    assert namespace.remarks.counts == {SHADOWED: 2}
    assert (namespace.parent(0), namespace.parent(2)) == (0, 0)
    assert namespace.files == 2


def test_a_directory_keeps_its_name_against_a_file() -> None:
    """The file becomes ``a (1)``, whether the directory is explicit or implied, whichever comes first."""
    for paths in ((b"a", b"a/b"), (b"a/b", b"a"), (b"a/", b"a", b"a/b")):
        namespace = tree(*paths)
        found = shown(namespace)
        assert list(found) == [b"a", b"a/b", b"a (1)"] or sorted(found) == [b"a", b"a (1)", b"a/b"]
        assert found[b"a"] < 0 <= found[b"a (1)"]
        assert namespace.remarks.counts == {DISPLACED: 1}
    assert b"a" in shown(tree(b"a/", b"a"))


def test_displaced_files_are_numbered_past_collisions() -> None:
    """Neither another file nor a directory loses its name; the number stands before the extension."""
    found = shown(tree(b"a", b"a/b", b"a (1)", b"a (2)/x", b"r.txt", b"r.txt/x"))
    assert set(found) == {b"a", b"a/b", b"a (1)", b"a (2)", b"a (2)/x", b"a (3)", b"r.txt", b"r.txt/x", b"r (1).txt"}
    assert found[b"a (3)"] == 0


def test_a_displaced_duplicate() -> None:
    """Of two files of one name, the last one is displaced, the other shadowed."""
    namespace = tree(b"a", b"a", b"a/b")
    assert shown(namespace)[b"a (1)"] == 1
    assert namespace.remarks.counts == {SHADOWED: 1, DISPLACED: 1}


def test_bytes_are_identity() -> None:
    """NFC and NFD, upper and lower case, are different files."""
    assert len(shown(tree("é".encode(), "e\u0301".encode(), b"A", b"a"))) == 4


def test_remarks_of_the_members_are_kept() -> None:
    """One count of everything that was odd."""
    members = MemberTable([member(b"a"), member(b"a")], Remarks({"hidden: x": 3}))
    assert Namespace(members, PLAIN, root_mtime_ns=0).remarks.counts == {"hidden: x": 3, SHADOWED: 1}


# -- directories -------------------------------------------------------------------------------------------------


def test_explicit_empty_directories_are_shown() -> None:
    """A directory needs no content to be there."""
    assert shown(tree(b"empty/", b"a/b/c/")) == {b"a": -3, b"a/b": -4, b"a/b/c": -5, b"empty": -2}


def test_times_of_directories() -> None:
    """Explicit: the member's, of several the last. Implied: the newest child's, through all levels."""
    members = MemberTable(
        [
            member(b"e", Kind.DIRECTORY, 5),
            member(b"e/new", mtime_ns=900),
            member(b"i/j/k", mtime_ns=300),
            member(b"i/old", mtime_ns=100),
            member(b"twice", Kind.DIRECTORY, 1),
            member(b"twice", Kind.DIRECTORY, 2),
            member(b"m/e", Kind.DIRECTORY, 50),
            member(b"m/e/x", mtime_ns=800),
        ]
    )
    namespace = Namespace(members, PLAIN, root_mtime_ns=7)
    times = {path: namespace.mtime_ns(node) for path, node in shown(namespace).items() if node < 0}
    assert times == {b"e": 5, b"i": 300, b"i/j": 300, b"twice": 2, b"m": 50, b"m/e": 50}
    assert namespace.mtime_ns(ROOT) == 7


def test_depths() -> None:
    """How many directories lie above: what ``..`` may climb."""
    found = tree(b"a", b"d/b", b"d/e/c")
    depths = {path: found.depth(node) for path, node in shown(found).items()}
    assert depths == {b"a": 0, b"d": 0, b"d/b": 1, b"d/e": 1, b"d/e/c": 2}


def test_links_of_a_directory() -> None:
    """The members whose target is to be read before they can be shown."""
    directory = parse(archive(Part("d/l", b"t", mode=LINK), Part("d/f", b"t"), Part("d/s/", mode=DIRECTORY)))
    namespace = Namespace(directory, PLAIN, root_mtime_ns=0)
    assert list(namespace.links(-2)) == [0]
    assert list(namespace.links(ROOT)) == []


def test_too_many_directories() -> None:
    """Deep paths cost two bytes a level in the archive: their number is bounded."""
    deep = MemberTable(member(b"/".join(b"%d-%d" % (number, level) for level in range(200))) for number in range(50))
    with pytest.raises(LimitExceeded, match="more than 5000 directories"):
        Namespace(deep, PLAIN, root_mtime_ns=0, max_directories=5000)
    assert Namespace(deep, PLAIN, root_mtime_ns=0).directories == 50 * 199 + 1


# -- shapes ------------------------------------------------------------------------------------------------------

STRIP = Shape(strip=b"workspace")
CLEAN = Shape(clean_suffix=True)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([b"workspace/a", b"workspace/d/b"], {b"a", b"d", b"d/b"}),
        ([b"workspace/", b"workspace/a"], {b"a"}),
        ([b"workspace/"], set()),
        ([b"workspace/workspace/a"], {b"workspace", b"workspace/a"}),
        ([b"workspace/a", b"b"], {b"workspace", b"workspace/a", b"b"}),
        ([b"workspace", b"workspace/a"], {b"workspace", b"workspace/a", b"workspace (1)"}),
        ([b"workspace"], {b"workspace"}),
        ([b"workspaces/a"], {b"workspaces", b"workspaces/a"}),
        ([], set()),
    ],
)
def test_a_common_first_component_is_dropped(paths: list[bytes], expected: set[bytes]) -> None:
    """``workspace/`` goes if every member lies under it, and stays if one does not."""
    assert set(shown(tree(*paths, shape=STRIP))) == expected


def test_stripping_counts_no_directory_above() -> None:
    """Depths and parents are those of the tree that is shown."""
    namespace = tree(b"workspace/d/a", shape=STRIP)
    assert namespace.depth(0) == 1
    assert namespace.path(0) == b"d/a"


def test_hidden_members_do_not_keep_the_prefix() -> None:
    """Only what is shown has a say."""
    directory = parse(archive(Part("../x"), Part("workspace/a")))
    assert set(shown(Namespace(directory, STRIP, root_mtime_ns=0))) == {b"a"}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([b"sample-1719265797164.pdf"], {b"sample.pdf"}),
        ([b"a-1719265797164"], {b"a"}),
        ([b"a.tar-1719265797164.gz"], {b"a.tar.gz"}),
        ([b"a-1719265797164.tar.gz"], {b"a-1719265797164.tar.gz"}),
        ([b"a-171926579716.pdf", b"b-17192657971644.pdf"], {b"a-171926579716.pdf", b"b-17192657971644.pdf"}),
        ([b"-1719265797164.pdf"], {b"-1719265797164.pdf"}),
        ([b"a-1719265797164.pdf", b"a-1719265797165.pdf"], {b"a-1719265797164.pdf", b"a-1719265797165.pdf"}),
        ([b"a-1719265797164.pdf", b"a.pdf"], {b"a-1719265797164.pdf", b"a.pdf"}),
        ([b"a-1719265797164", b"a/x"], {b"a-1719265797164", b"a", b"a/x"}),
        ([b"d/a-1719265797164.pdf", b"a-1719265797165.pdf"], {b"d", b"d/a.pdf", b"a.pdf"}),
        ([b"d-1719265797164/x"], {b"d-1719265797164", b"d-1719265797164/x"}),
        ([b"a\nb-1719265797164.pdf"], {b"a\nb.pdf"}),
    ],
)
def test_millisecond_suffixes_are_cleaned(paths: list[bytes], expected: set[bytes]) -> None:
    """Dropped before the extension where the result is unique in its directory; directories keep theirs."""
    assert set(shown(tree(*paths, shape=CLEAN))) == expected
    assert len(shown(tree(*paths))) == len(expected)


# -- listings ----------------------------------------------------------------------------------------------------


def test_a_listing_is_made_once() -> None:
    """The second call gives the first one's."""
    namespace = tree(b"d/a", b"d/b")
    assert namespace.listing(-2) is namespace.listing(-2)


def test_listings_kept_are_bounded() -> None:
    """The cache can be given; what is thrown out of it is made again, the same."""
    kept: dict[int, Listing] = {}
    namespace = Namespace(table(b"d/a", b"e/b"), PLAIN, root_mtime_ns=0, listings=kept)
    first = namespace.listing(-2)
    assert list(kept) == [-2]
    kept.clear()
    assert namespace.listing(-2) == first


def test_long_listings_are_made_name_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a length, names come on demand: same order, same answers, slices too."""
    paths = [b"d/%05d" % (number * 7919 % 5000) for number in range(5000)]
    whole = tree(*paths).listing(-2)
    monkeypatch.setattr(module, "WHOLE_LISTING", 100)
    namespace = tree(*paths)
    lazy = namespace.listing(-2)
    assert not isinstance(lazy.names, tuple)
    assert tuple(lazy.names) == whole.names
    assert list(lazy.nodes) == list(whole.nodes)
    assert lazy.names[10:20] == whole.names[10:20]
    assert lazy.names[-1] == whole.names[-1]
    assert len(lazy) == len(lazy.names) == 5000
    assert namespace.child(-2, b"04999") == whole.nodes[4999]
    assert namespace.child(-2, b"05000") is None


def test_a_hundred_thousand_names_in_one_directory() -> None:
    """Found, listed and resolved like few."""
    directory = parse(archive(*many(100_000)))
    namespace = Namespace(directory, PLAIN, root_mtime_ns=0)
    listing = namespace.listing(ROOT)
    assert len(listing) == 100_000
    assert listing.names[54_321] == b"file-0054321.txt"
    assert namespace.resolve(b"file-0099999.txt") == 99_999


# -- tables ------------------------------------------------------------------------------------------------------


def test_a_table_of_repeated_names_is_numbered() -> None:
    """Files of a listing that share a name are all shown, in their order."""
    members = MemberTable.numbered([member(path) for path in (b"a.pdf", b"b", b"a.pdf", b"a (1).pdf", b"a.pdf", b"b")])
    assert [path for _, path, _ in members.names()] == [
        b"a.pdf",
        b"b",
        b"a (1).pdf",
        b"a (1) (1).pdf",
        b"a (2).pdf",
        b"b (1)",
    ]
    assert members.remarks.counts == {REPEATED: 4}
    assert members[2].path == b"a (1).pdf"


def test_a_table_is_a_member_list() -> None:
    """It answers like a Directory."""
    directory = parse(archive(Part("d/a", b"x"), Part("e/", mode=DIRECTORY), Part("l", b"t", mode=LINK)))
    members = MemberTable(directory[index] for index in range(3))
    assert len(members) == len(directory)
    assert list(members.names()) == list(directory.names())
    for index in range(3):
        assert members[index] == directory[index]
        assert members.path(index) == directory.path(index)
        assert members.kind(index) == directory.kind(index)
        assert members.mtime_ns(index) == directory.mtime_ns(index)
        assert members.brief(index) == directory.brief(index)


# -- any archive -------------------------------------------------------------------------------------------------

components = st.sampled_from([b"a", b"b", b"a (1)", b"c.txt", b"c (1).txt", b"x-1719265797164.pdf", b"x.pdf"])
some_paths = st.lists(components, min_size=1, max_size=4).map(b"/".join)


@given(st.lists(st.tuples(some_paths, st.booleans()), max_size=12), st.booleans(), st.sampled_from([b"", b"a"]))
def test_any_list_of_paths_is_a_tree(paths: list[tuple[bytes, bool]], clean: bool, strip: bytes) -> None:
    """Against a plain model: every last member is shown once, every directory is there, names are unique."""
    members = table(*(path + b"/" * directory for path, directory in paths))
    namespace = Namespace(members, Shape(strip=strip, clean_suffix=clean), root_mtime_ns=0)
    found = shown(namespace)
    files = {path: node for path, node in found.items() if node >= 0}
    under = strip and all(path.startswith(strip + b"/") or (path == strip and is_dir) for path, is_dir in paths)
    cut = len(strip) + 1 if under else 0
    last = {path[cut:]: index for index, (path, is_dir) in enumerate(paths) if not is_dir}
    implied = {path[cut:] for path, is_dir in paths if is_dir} - {b""}
    for path in [*last, *implied]:
        while path := posixpath.dirname(path):
            implied.add(path)
    assert set(files.values()) == set(last.values())
    assert {path for path, node in found.items() if node < 0} == implied
    assert namespace.files == len(last)
    assert namespace.directories == len(implied) + 1
    if not clean:
        assert all(files[path] == index for path, index in last.items() if path not in implied)
    for path, node in found.items():
        assert namespace.depth(node) == path.count(b"/")


def test_frozen_facts() -> None:
    """A listing cannot be changed by who holds it."""
    listing = tree(b"a").listing(ROOT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        listing.names = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        listing.nodes[0] = 5  # type: ignore[index]
