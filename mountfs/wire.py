"""The kernel's side of FUSE in bytes: what a request looks like, and how a reply is packed.

Source: ``include/uapi/linux/fuse.h``, protocol 7.31 and later, in the machine's own byte order. Only what
``fuse.express`` answers itself is here: the rest of the protocol is libfuse's.

Concurrency: pure.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

LOOKUP: Final = 1
FORGET: Final = 2
GETATTR: Final = 3
OPEN: Final = 14
READ: Final = 15
RELEASE: Final = 18
INIT: Final = 26
OPENDIR: Final = 27
RELEASEDIR: Final = 29
INTERRUPT: Final = 36
BATCH_FORGET: Final = 42
READDIRPLUS: Final = 44
OPCODES: Final = 64
"""One more than the largest opcode there may be (53 in protocol 7.44)."""

HEADER: Final = 40
REQUEST = Struct("=IIQQIIII")
"""fuse_in_header: length, opcode, unique, nodeid, uid, gid, pid, and two lengths nobody needs."""
REPLY = Struct("=IiQ")
"""fuse_out_header: length, error (a negative errno), unique."""

FORGET_IN = Struct("=Q")
BATCH_IN = Struct("=II")
FORGET_ONE = Struct("=QQ")
OPEN_IN = Struct("=II")
READ_IN = Struct("=QQI")
"""fuse_read_in, as far as it matters; READDIRPLUS has the same."""
HANDLE_IN = Struct("=Q")
"""What RELEASE and RELEASEDIR start with."""
INTERRUPT_IN = Struct("=Q")

OPENED = Struct("=IiQQII")
"""A reply with fuse_open_out: handle, flags, and a backing id we do not use."""
KEEP_CACHE: Final = 1 << 1
ENTRY = Struct("=QQQQIIQQQqqqIIIIIIIIII")
"""fuse_entry_out: inode, generation, how long name and attributes are believed (s, s, ns, ns), and the attributes."""
ATTRIBUTES = Struct("=QIIQQQqqqIIIIIIIIII")
"""fuse_attr_out: how long they are believed (s, ns), padding, and the attributes."""
FOUND = Struct("=IiQ" + ENTRY.format[1:])
"""A reply to LOOKUP."""
KNOWN = Struct("=IiQ" + ATTRIBUTES.format[1:])
"""A reply to GETATTR."""
DIRENT_PLUS = Struct("=QQQQIIQQQqqqIIIIIIIIIIQQII")
"""fuse_direntplus: an ENTRY, then inode, cookie, length of the name, type; the name follows, padded to 8 bytes."""
DIRENT = Struct("=QQII")
"""The end of one: after UNTOLD it is a name of which the kernel is told no more than its inode's number and type (it
takes a fuse_direntplus whose entry has nodeid 0 for that, and looks the name up when it needs it)."""
UNTOLD: Final = bytes(ENTRY.size)
NOTIFY_ENTRY = Struct("=IiQQII")
"""A notification with fuse_notify_inval_entry_out: parent, length of the name, flags; the name and a NUL follow."""
INVALIDATE_ENTRY: Final = 3
NOTIFY_STORE = Struct("=IiQQQII")
"""A notification with fuse_notify_store_out: inode, offset, size, padding; the bytes follow."""
STORE: Final = 4

INIT_IN = Struct("=IIII")
"""fuse_init_in: major, minor, read-ahead, flags."""
INIT_OUT = Struct("=IIIIHHIIH")
"""fuse_init_out: major, minor, read-ahead, flags, max_background, congestion_threshold, max_write, granularity of
times, max_pages."""
PARALLEL_DIROPS: Final = 1 << 18
MAX_PAGES: Final = 1 << 22
CACHE_SYMLINKS: Final = 1 << 23

MAX_WRITE: Final = 128 << 10
"""There are no WRITEs; but the kernel refuses a read of the device that has no room for the largest there might be."""
MOST_PAGES: Final = 256
"""A READ may ask for so many: the kernel's own limit (fs.fuse.max_pages_limit) unless it was raised."""
READ_BUFFER: Final = 2 * MAX_WRITE
"""SETXATTR is the largest request there is: 64 KiB and a name."""
PADDING = tuple(bytes(-length % 8) for length in range(8))
"""By the length of a name modulo 8, the NULs that follow it."""


def failed(unique: int, errno: int) -> bytes:
    """A reply that is an errno (0: it went well, and there is nothing to say)."""
    return REPLY.pack(REPLY.size, -errno, unique)


def opened(unique: int, handle: int, flags: int) -> bytes:
    """A reply to OPEN and OPENDIR."""
    return OPENED.pack(OPENED.size, 0, unique, handle, flags, 0)


def answered(unique: int, body: bytes | bytearray) -> bytes:
    """A reply with a body."""
    return REPLY.pack(REPLY.size + len(body), 0, unique) + body


def stored(inode: int, size: int) -> bytes:
    """What the bytes of a file, from its first on, are sent behind for the kernel to keep."""
    return NOTIFY_STORE.pack(NOTIFY_STORE.size + size, STORE, 0, inode, 0, size, 0)


def name_gone(parent: int, name: bytes) -> bytes:
    """The notification that a name is to be looked up again."""
    length = NOTIFY_ENTRY.size + len(name) + 1
    return NOTIFY_ENTRY.pack(length, INVALIDATE_ENTRY, 0, parent, len(name), 0) + name + b"\0"


def handshake_for_libfuse(message: bytes) -> bytes:
    """The kernel's INIT, without its offer of more than 32 pages a request.

    libfuse makes its buffers as large as that offer, 1 MiB and a page each, one for every request that waits, although
    the largest it is ever passed (a SETXATTR) fits into 32. malloc would map so large a block apart, but where the heap
    has a free one of the size it takes that: each waiting request then held 1 MiB of resident heap in the midst of
    everything else, and the heap grew around it."""
    changed = bytearray(message)
    major, minor, ahead, flags = INIT_IN.unpack_from(changed, HEADER)
    INIT_IN.pack_into(changed, HEADER, major, minor, ahead, flags & ~MAX_PAGES)
    return bytes(changed)


def handshake_for_kernel(message: bytes, offered: int, background: int) -> bytes:
    """libfuse's answer to INIT, with what it cannot be told to ask for: lookups in one directory side by side, targets
    of links kept, READs of MOST_PAGES, and ``background`` requests at a time (the kernel takes less where it must); and
    no more to write at once than READ_BUFFER has room for. ``offered``: the flags of the kernel."""
    if len(message) < REPLY.size + INIT_OUT.size:
        return message  # refused, or a version of old
    changed = bytearray(message)
    major, minor, ahead, flags, _, _, most, granularity, pages = INIT_OUT.unpack_from(changed, REPLY.size)
    flags |= offered & (PARALLEL_DIROPS | CACHE_SYMLINKS | MAX_PAGES)
    congestion, most = background * 3 // 4, min(most, MAX_WRITE)
    pages = MOST_PAGES if offered & MAX_PAGES else pages
    # fmt: off
    INIT_OUT.pack_into(changed, REPLY.size, major, minor, ahead, flags, background, congestion, most, granularity,
                       pages)
    # fmt: on
    return bytes(changed)
