"""What a service manager has to do with a mount: being told of it, watching it, and making it for a sandboxed daemon.

The map: ``notify`` speaks sd_notify(3) and takes over the descriptors systemd passes; ``canary`` feeds its watchdog
while the mount answers through the kernel; ``opener`` is the privileged half of ``mountfs@.service``, a program of its
own (``mountfs-opener``). ``canary`` is imported where it is used, so that the opener loads the standard library alone.

Concurrency: as each module says.
"""

from mountfs.service.notify import FUSE_NAME, Notifier, Supervision, supervision

__all__ = ["FUSE_NAME", "Notifier", "Supervision", "supervision"]
