"""The words of -o."""

from __future__ import annotations

import grp
import pwd

import pytest

from mountfs.config import MountOptions, mount_words, parse_mount_words
from mountfs.errors import ConfigError


def test_own_words() -> None:
    """Every word of ours arrives in its field; -o may be repeated, and holds several words."""
    words = ["allow_other,uid=1000,gid=1001,umask=027", "noexec", "config=/etc/x.toml,offline", "fsname=work", ""]
    assert parse_mount_words(words) == MountOptions(
        allow_other=True,
        uid=1000,
        gid=1001,
        umask=0o27,
        noexec=True,
        offline=True,
        source="work",
        config="/etc/x.toml",
    )


def test_names_for_numbers() -> None:
    """A user and a group may be given by name."""
    name, group = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    assert parse_mount_words([f"uid={name},gid={group}"]) == MountOptions(uid=0, gid=0)


def test_words_of_fstab() -> None:
    """What belongs in an fstab line is accepted and changes nothing."""
    words = (
        "ro,nosuid,nodev,noauto,user,user=joe,_netdev,nofail,x-systemd.automount,x-gvfs-show,defaults,noatime,comment=a"
    )
    assert parse_mount_words([words]) == MountOptions()
    assert parse_mount_words(["rw"], helper=True) == MountOptions()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("rw", "-o rw: the tree is read-only; write ro"),
        ("allow_others", '-o allow_others: unknown option; did you mean "allow_other"?; accepted: allow_other, uid'),
        ("zzz=1", "-o zzz=1: unknown option; accepted: "),
        ("allow_other=1", "-o allow_other=1: takes no value"),
        ("uid", "-o uid: write uid=NUMBER or uid=NAME"),
        ("uid=no-such-user", "-o uid=no-such-user: no such user"),
        ("uid=4294967295", "-o uid=4294967295: no such user"),
        ("gid=-1", "-o gid=-1: no such group"),
        ("umask=8", "-o umask=8: write umask=000"),
        ("umask=1000", "-o umask=1000: write umask=000"),
        ("config=", "-o config=: write config=PATH"),
        ("auto_unmount", "-o auto_unmount: a mount whose daemon died must give errors"),
    ],
)
def test_mistakes(word: str, message: str) -> None:
    """A wrong word is refused with what to write."""
    with pytest.raises(ConfigError) as caught:
        parse_mount_words([f"ro,{word}"])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("words", ["", "allow_other,noexec,uid=1,gid=2,umask=077,fsname=x"])
def test_round_trip(words: str) -> None:
    """The words made from options give these options again."""
    options = parse_mount_words([words])
    assert parse_mount_words(mount_words(options)) == options
