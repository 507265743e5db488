# ruff: noqa: E501 - a table reads best with a row a line
"""What people do wrong, and the one line each gets: what is wrong and what to do, never a traceback.

``TABLE`` is the table; ``PYTHONPATH=tests python tests/cli/test_mistakes.py`` prints it as Markdown. In a row, ``{tmp}`` is a directory
of the test's own and ``{config}`` a right configuration; ``file`` is the text of ``{tmp}/c.toml``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from running import Run

from mountfs.demo.server import Fakes

DARI = '[providers.dari]\ntype = "dari"\n'


@dataclass(frozen=True)
class Mistake:
    """``says``: the whole line, or its beginning where it ends in ``…``."""

    name: str
    words: str
    says: str
    status: int = 1
    file: str | None = None
    environ: dict[str, str] = field(default_factory=dict)


C = "--config {tmp}/c.toml"

# fmt: off
TABLE = (
    # the call
    Mistake("a verb that is not", "unmount x", "mountfs: no such verb: unmount; verbs are mount, umount, …", 2),
    Mistake("an option that is not", "mount --sideways", "mountfs: No such option '--sideways'; see: mountfs mount --help", 2),
    Mistake("no mountpoint to unmount", "umount", "mountfs: Missing argument 'MOUNTPOINT'; see: mountfs umount --help", 2),
    Mistake("a word too many", "mount a b", "mountfs: Got unexpected extra argument (b); see: mountfs mount --help", 2),
    Mistake("no destination", "export dari/s_1", "mountfs: Missing argument 'DEST'; see: mountfs export --help", 2),
    Mistake("nothing to fetch", "fetch", "mountfs: Missing argument 'PATH...'; see: mountfs fetch --help", 2),
    Mistake("no such level", "ls --log-level loud", "mountfs: Invalid value for '--log-level': 'loud' is not one of …", 2),
    Mistake("no such level in the environment", "mount -f x", "mountfs: $MOUNTFS_LOG: no such level: loud; levels are …", 2, environ={"MOUNTFS_LOG": "loud"}),
    Mistake("no such sub-verb", "cache clean", "mountfs: No such command 'clean'…", 2),
    Mistake("no such shell", "completion tcsh", "mountfs: Invalid value for 'SHELL': 'tcsh' is not one of 'bash', 'zsh', 'fish'; …", 2),
    Mistake("sessions at once: none", "fetch -j 0 dari/s_1", "mountfs: Invalid value for '-j': 0 is not in the range 1<=x<=64; …", 2),
    # -o
    Mistake("an unknown word of -o", "mount -f --config {config} -o alow_other x", 'mountfs: -o alow_other: unknown option; did you mean "allow_other"?; accepted: …'),
    Mistake("writable, please", "mount -f --config {config} -o rw x", "mountfs: -o rw: the tree is read-only; write ro"),
    Mistake("a umask that is none", "mount -f --config {config} -o umask=9 x", "mountfs: -o umask=9: write umask=000 to umask=777, in octal"),
    Mistake("a user that is none", "mount -f --config {config} -o uid=nobody-here x", "mountfs: -o uid=nobody-here: no such user"),
    # the configuration
    Mistake("no configuration", "ls", "mountfs: …set one of KAIZEN_API_KEY…"),
    Mistake("a configuration that is not there", "ls --config /no/such/file", "mountfs: /no/such/file: No such file or directory…"),
    Mistake("no TOML", f"config check {C}", "mountfs: {tmp}/c.toml:1: …", file="mountpoint = ~/x\n"),
    Mistake("a key misspelt", f"config check {C}", 'mountfs: {tmp}/c.toml:3: providers.dari.pathz: unknown key; did you mean "paths"?', file=DARI + "pathz = []\n"),
    Mistake("a size without sense", f"config check {C}", "mountfs: {tmp}/c.toml:2: cache.max_size: …", file='[cache]\nmax_size = "ten"\n' + DARI),
    Mistake("a duration without unit", f"config check {C}", "mountfs: {tmp}/c.toml:2: freshness.live: …", file='[freshness]\nlive = "5 parsecs"\n' + DARI),
    Mistake("a number below 1", f"config check {C}", "mountfs: {tmp}/c.toml:2: network.max_connections: …", file="[network]\nmax_connections = 0\n" + DARI),
    Mistake("no such provider type", f"config check {C}", "mountfs: {tmp}/c.toml:2: providers.x.type: unknown provider type 'darii'; did you mean 'dari'? accepted: …", file='[providers.x]\ntype = "darii"\n'),
    Mistake("a key in the clear over http", f"config check {C}", "mountfs: {tmp}/c.toml:3: providers.dari.base_url: http:// is accepted for a loopback address only…", file=DARI + 'base_url = "http://api.dari.dev"\n'),
    Mistake("two sources of one key", f"config check {C}", "mountfs: {tmp}/c.toml:4: …", file=DARI + 'api_key_env = "A"\napi_key_file = "b"\n'),
    Mistake("a key file that is not there", f"config check {C}", "mountfs: {tmp}/c.toml:3: providers.dari.api_key_file: {tmp}/none: No such file or directory; put the key there", file=DARI + 'api_key_file = "none"\n'),
    Mistake("a key command that fails", f"config check {C}", "mountfs: {tmp}/c.toml:3: providers.dari.api_key_command: …", file=DARI + 'api_key_command = ["false"]\n'),
    Mistake("an example over a file", "config init {config}", "mountfs: {config}: is there already; --force replaces it"),
    Mistake("no mountpoint at all", "mount -f --config {config}", "mountfs: no MOUNTPOINT: give one, or set mountpoint in the configuration; see: mountfs mount --help", 2),
    # places
    Mistake("a file as mountpoint", "mount -f --config {config} {config}", "mountfs: {config}: is not a directory; name a directory to mount on"),
    Mistake("a mountpoint nowhere", "mount -f --config {config} {tmp}/a/b/c", "mountfs: {tmp}/a/b/c: cannot be made: No such file or directory; run: mkdir -p {tmp}/a/b/c, or name another directory"),
    Mistake("unmounting what is not mounted", "umount {tmp}", "mountfs: {tmp}: not a mount of mountfs; mounts are listed by: findmnt -t fuse.mountfs"),
    Mistake("the status of a directory", "status {tmp}", "mountfs: {tmp}: not a mount of mountfs; 'mountfs status' lists the mounts"),
    Mistake("an export onto a file", "export --config {config} dari/sess_research {config}", "mountfs: {config}: File exists; something else is in the way: remove it, or name another DEST"),
    Mistake("a cache that is a file", f"cache info {C}", "mountfs: {tmp}/c.toml: is not a directory; point cache.dir at a directory of your own", file='[cache]\ndir = "c.toml"\n' + DARI),
    Mistake("a cache that is not there", f"cache verify {C}", "mountfs: {tmp}/nowhere: there is no cache yet; it is made by the first mount, or set cache.dir", file='[cache]\ndir = "nowhere"\n' + DARI),
    Mistake("a report over a file", "doctor --offline --config {config} --bundle {config}", "mountfs: {config}: is there already; name another file"),
    # paths in the tree
    Mistake("no such provider", "ls --config {config} nobody/x", "mountfs: nobody/x: no provider 'nobody'"),
    Mistake("no such file", "cat --config {config} dari/sess_research/nothing", "mountfs: dari/sess_research/nothing: no 'nothing' here"),
    Mistake("a directory as a file", "cat --config {config} dari/sess_research", "mountfs: dari/sess_research: a directory"),
    Mistake("a session that is gone", "fetch --config {config} dari/sess_gone", "mountfs: dari/sess_gone: dari: session sess_gone: the service answered 404: …"),
    Mistake("offline, and not in the cache", "cat --offline --config {config} dari/sess_other/x", "mountfs: dari/sess_other/x: dari: no session 'sess_other'"),
    Mistake("fetching the whole world", "fetch --config {config} /", "mountfs: /: names no session; write provider/session, or provider for all of its sessions"),
    Mistake("why, with nothing mounted", "why dari/sess_1", "mountfs: dari/sess_1: no mount is running that could tell; 'mountfs ls -l dari/sess_1' asks the service now"),
    Mistake("a level for nothing", "log-level debug", "mountfs: nothing is mounted; give --log-level to 'mountfs mount'"),
)
# fmt: on


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_mistake_gets_one_line(
    run: Run, alone: None, row: Mistake, config: str, fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says what is wrong and what to do; the status is 1, or 2 for a wrong call."""
    if row.file is not None:
        (tmp_path / "c.toml").write_text(row.file)
        (tmp_path / "c.toml").chmod(0o600)
    for name, value in row.environ.items():
        monkeypatch.setenv(name, value)
    here = {"tmp": str(tmp_path), "config": config}
    told = run(*(word.format_map(here) for word in row.words.split()))
    assert told.status == row.status, told.err
    assert "Traceback" not in told.err + told.out
    lines = told.err.splitlines()
    assert len(lines) == 1, told.err
    at = 0
    for piece in row.says.format_map(here).split("…"):
        at = lines[0].find(piece, at)
        assert at >= 0, lines[0]
        at += len(piece)
    assert row.says.endswith("…") or at == len(lines[0]), lines[0]


def test_there_are_many() -> None:
    """At least thirty, each with a name of its own."""
    assert len({row.name for row in TABLE}) == len(TABLE) >= 30


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_key_file_of_somebody_else(run: Run, config: str, tmp_path: Path) -> None:
    """A key file that others could have written is refused."""
    os.chown(tmp_path / "dari.key", 12345, 12345)
    told = run("config", "check", "--config", config)
    assert told.status == 1
    assert told.err.count("\n") == 1
    assert "dari.key" in told.err


if __name__ == "__main__":
    print("| mistake | call | what is said |\n|---|---|---|")
    for each in TABLE:
        print(
            f"| {each.name} | `mountfs {each.words}` | `{each.says}` |".replace("{config}", "C").replace("{tmp}", "T")
        )
