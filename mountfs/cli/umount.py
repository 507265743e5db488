"""``mountfs umount``: unmounts, waits for the daemon, and clears a mount whose daemon died.

Concurrency: blocking, each wait bounded.
"""

from __future__ import annotations

import click

from mountfs.cli.common import common_options

END_TIMEOUT = 30.0
"""Seconds: the daemon stops its transfers and syncs its cache within 5."""


@click.command()
@click.argument("mountpoint")
@click.option("-l", "--lazy", is_flag=True, help="Detach also while it is in use; it goes when the last user has left.")
@common_options
def command(mountpoint: str, lazy: bool) -> None:
    """Unmount MOUNTPOINT and wait for the daemon.

    A mount whose daemon died ("Transport endpoint is not connected") is cleared.
    """
    unmount_and_wait(mountpoint, lazy=lazy)


def unmount_and_wait(mountpoint: str, *, lazy: bool = False) -> None:
    """Raises MountFailed if it is not mounted, is in use, or the daemon does not end."""
    from mountfs.cli.lock import holder, wait_for_end
    from mountfs.cli.table import MountFailed, canonical, mount_at, unmount

    path = canonical(mountpoint)
    mount = mount_at(path)
    if mount is None:
        raise MountFailed(f"{path}: not a mount of mountfs", advice="mounts are listed by: findmnt -t fuse.mountfs")
    unmount(path, lazy=lazy)
    # A lazy unmount returns while others still use it, and the daemon serves them to the end.
    if not lazy and not wait_for_end(path, mount, END_TIMEOUT):
        raise MountFailed(
            f"{path}: unmounted, but process {holder(path, mount)} has not ended after {END_TIMEOUT:g} s",
            advice="see its log; kill it if it stays",
        )
