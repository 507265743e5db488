"""Large deleted files whose last reference goes in the garbage collector: at any moment, and at the interpreter's
end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from mounts import until
from store.tools import MIB

from mountfs.store import Store, disk
from mountfs.store.descriptors import Handle

ENDS = """
import gc, os, sys
from mountfs.store import Store, disk
from mountfs.store.descriptors import Handle

store = Store(sys.argv[1], max_size=1 << 30, min_free=0).open()
gc.disable()  # so that the cycle is there at the end, as it now and then is in a daemon
cycle = [os.memfd_create("deleted")]
os.write(cycle[0], bytes(disk.LARGE + (1 << 20)))
cycle += [Handle(cycle[0]), cycle]
del cycle
store.close()
print("the end")
"""


def test_the_interpreter_ends_beside_a_large_deleted_file(tmp_path: os.PathLike[str]) -> None:
    """An error of a full disk keeps the archive it was met in alive, by its traceback, in a reference cycle. A daemon
    that ended before that was collected closed the file at the interpreter's end, in a new thread, for ever."""
    ended = subprocess.run(
        [sys.executable, "-c", ENDS, os.path.join(tmp_path, "cache")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "the end\n", "")


def test_a_destructor_starts_no_thread(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting one takes locks of the threading module, which what the collector interrupted may hold: then no thread
    could be started any more, and this one waits for ever."""
    monkeypatch.setattr(disk, "LARGE", MIB // 2)
    monkeypatch.setattr(threading.Thread, "start", lambda _thread: pytest.fail("a thread was started"))
    fd = os.memfd_create("deleted")
    os.write(fd, bytes(MIB))
    kept = os.dup(fd)
    try:
        handle = Handle(fd)
        assert handle.fd == fd
        del handle
        until(lambda: not os.path.exists(f"/proc/self/fd/{fd}"))
    finally:
        os.close(kept)
    assert store is not None
