"""A walk's order, foretold: against walks that are really made over random trees."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from mountfs.model import Kind, Member, MemberPath, Shape
from mountfs.tree import ROOT, MemberTable, Namespace
from mountfs.tree.inodes import Numbering
from mountfs.tree.route import MOST, TELLING, Route

PARTS = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=4)
TREES = st.lists(PARTS.map("/".join), min_size=1, max_size=40, unique=True)


def tree_of(paths: list[str]) -> Namespace:
    """A tree of files at ``paths`` (one that is a directory of another's is a directory)."""
    return Namespace(
        MemberTable(Member(MemberPath(f"{path}/f".encode()), Kind.FILE, 1, 0, False) for path in paths),
        Shape(),
        root_mtime_ns=0,
    )


def number_in(tree: Namespace) -> Callable[[int], int]:
    numbering = Numbering("x")
    return lambda node: numbering.of(tree.path(node))


def walk(tree: Namespace, directory: int, order: Callable[[list[int]], list[int]]) -> Iterator[int]:
    """The files in the order in which a program opens them that goes through a directory in ``order``."""
    for node in order(list(tree.listing(directory).nodes)):
        if node < 0:
            yield from walk(tree, node, order)
        else:
            yield node


@given(TREES, st.data())
def test_a_copy_goes_by_inode_number(paths: list[str], data: st.DataObject) -> None:
    tree = tree_of(paths)
    number = number_in(tree)
    files = list(walk(tree, ROOT, lambda nodes: sorted(nodes, key=number)))
    at = data.draw(st.integers(0, len(files) - 1))
    assert list(Route().after(files[at], None, tree, number)) == files[at + 1 :]


@given(st.integers(3, 30), st.data())
def test_who_goes_as_listed_is_found_out_by_two_members(count: int, data: st.DataObject) -> None:
    tree = Namespace(
        MemberTable(Member(MemberPath(f"d{at % 3}/f{at}".encode()), Kind.FILE, 1, 0, False) for at in range(3 * count)),
        Shape(),
        root_mtime_ns=0,
    )
    number = number_in(tree)
    files = list(walk(tree, ROOT, lambda nodes: nodes))
    by_number = list(walk(tree, ROOT, lambda nodes: sorted(nodes, key=number)))
    at = data.draw(st.sampled_from([at for at in range(1, len(files)) if at % count]))
    route = Route()
    following = by_number[by_number.index(files[at - 1]) + 1 :][:1]
    expected = by_number[by_number.index(files[at]) + 1 :] if following == [files[at]] else files[at + 1 :]
    assert list(route.after(files[at], files[at - 1], tree, number)) == expected
    if following != [files[at]]:
        assert list(route.after(files[0], None, tree, number)) == files[1:]  # and it is remembered


@given(st.integers(2, 60), st.integers(0, 40), st.data())
def test_two_files_give_a_copy_away(count: int, directories: int, data: st.DataObject) -> None:
    """... but not where there are few files, whatever else there is, nor where whoever takes them as listed would do
    the same, nor any other two."""
    names = [f"d{at % 2}/f{at}" for at in range(2 * count)] + [f"d{at % 2}/g{at}/x" for at in range(directories)]
    tree = Namespace(
        MemberTable(Member(MemberPath(name.encode()), Kind.FILE, 1, 0, False) for name in names),
        Shape(),
        root_mtime_ns=0,
    )
    number = number_in(tree)
    previous, node = data.draw(st.permutations(range(2 * count)))[:2]
    home = [each for each in tree.listing(tree.parent(node)).nodes if each >= 0]
    by_number = sorted(home, key=number)
    copied = previous in home and by_number[by_number.index(previous) + 1 :][:1] == [node]
    listed = previous in home and home[home.index(previous) + 1 :][:1] == [node]
    expected = copied and not listed and count >= TELLING
    assert Route().gives_away(node, previous, tree, number) == expected


def test_too_large_a_directory_is_not_foretold() -> None:
    """It would hold everybody up."""
    names = [f"many/{at:05}" for at in range(MOST + 1)]
    tree = Namespace(
        MemberTable(Member(MemberPath(name.encode()), Kind.FILE, 1, 0, False) for name in ["a", *names, "z"]),
        Shape(),
        root_mtime_ns=0,
    )
    first = tree.resolve(b"a")
    inside = tree.resolve(names[7].encode())
    assert first is not None
    assert inside is not None
    assert list(Route().after(inside, None, tree, number_in(tree))) == []
    assert len(list(Route().after(first, None, tree, number_in(tree)))) <= 1
