"""The kernel's protocol in bytes: our layouts against the kernel's own header, and the handshake."""

from __future__ import annotations

import subprocess
from pathlib import Path
from struct import Struct

import pytest

from mountfs import wire

LAYOUTS: dict[str, Struct] = {
    "struct fuse_in_header": wire.REQUEST,
    "struct fuse_out_header": wire.REPLY,
    "struct fuse_entry_out": wire.ENTRY,
    "struct fuse_attr_out": wire.ATTRIBUTES,
    "struct fuse_direntplus": wire.DIRENT_PLUS,
    "struct fuse_forget_in": wire.FORGET_IN,
    "struct fuse_forget_one": wire.FORGET_ONE,
    "struct fuse_batch_forget_in": wire.BATCH_IN,
    "struct fuse_open_in": wire.OPEN_IN,
    "struct fuse_interrupt_in": wire.INTERRUPT_IN,
    "struct fuse_out_header) + sizeof(struct fuse_entry_out": wire.FOUND,
    "struct fuse_out_header) + sizeof(struct fuse_attr_out": wire.KNOWN,
    "struct fuse_out_header) + sizeof(struct fuse_open_out": wire.OPENED,
    "struct fuse_out_header) + sizeof(struct fuse_notify_inval_entry_out": wire.NOTIFY_ENTRY,
}
"""What is named -> ours, of the same size."""


def _ends(layout: Struct, fields: int) -> int:
    """Where the first ``fields`` fields of a layout end."""
    return Struct("=" + layout.format.lstrip("=")[:fields]).size


OFFSETS: dict[str, int] = {
    "fuse_in_header, unique": _ends(wire.REQUEST, 2),
    "fuse_in_header, nodeid": _ends(wire.REQUEST, 3),
    "fuse_in_header, pid": _ends(wire.REQUEST, 6),
    "fuse_entry_out, entry_valid_nsec": _ends(wire.ENTRY, 4),
    "fuse_entry_out, attr.ino": _ends(wire.ENTRY, 6),
    "fuse_entry_out, attr.size": _ends(wire.ENTRY, 7),
    "fuse_entry_out, attr.mtime": _ends(wire.ENTRY, 10),
    "fuse_entry_out, attr.mode": _ends(wire.ENTRY, 15),
    "fuse_entry_out, attr.uid": _ends(wire.ENTRY, 17),
    "fuse_entry_out, attr.blksize": _ends(wire.ENTRY, 20),
    "fuse_attr_out, attr.ino": _ends(wire.ATTRIBUTES, 3),
    "fuse_attr_out, attr.mtime": _ends(wire.ATTRIBUTES, 7),
    "fuse_attr_out, attr.mode": _ends(wire.ATTRIBUTES, 12),
    "fuse_direntplus, dirent.off": _ends(wire.DIRENT_PLUS, 23),
    "fuse_direntplus, dirent.namelen": _ends(wire.DIRENT_PLUS, 24),
    "fuse_direntplus, dirent.type": _ends(wire.DIRENT_PLUS, 25),
    "fuse_read_in, offset": _ends(wire.READ_IN, 1),
    "fuse_read_in, size": _ends(wire.READ_IN, 2),
    "fuse_release_in, fh": 0,  # HANDLE_IN is the first field of it
    "fuse_open_out, open_flags": _ends(wire.OPENED, 4) - wire.REPLY.size,
    "fuse_init_in, flags": _ends(wire.INIT_IN, 3),
    "fuse_init_out, flags": _ends(wire.INIT_OUT, 3),
    "fuse_init_out, max_background": _ends(wire.INIT_OUT, 4),
    "fuse_init_out, congestion_threshold": _ends(wire.INIT_OUT, 5),
    "fuse_init_out, max_write": _ends(wire.INIT_OUT, 6),
    "fuse_init_out, max_pages": _ends(wire.INIT_OUT, 8),
    "fuse_notify_inval_entry_out, namelen": _ends(wire.NOTIFY_ENTRY, 4) - wire.REPLY.size,
}
NUMBERS = {
    "FUSE_LOOKUP": wire.LOOKUP,
    "FUSE_FORGET": wire.FORGET,
    "FUSE_BATCH_FORGET": wire.BATCH_FORGET,
    "FUSE_GETATTR": wire.GETATTR,
    "FUSE_OPEN": wire.OPEN,
    "FUSE_READ": wire.READ,
    "FUSE_RELEASE": wire.RELEASE,
    "FUSE_INIT": wire.INIT,
    "FUSE_OPENDIR": wire.OPENDIR,
    "FUSE_READDIRPLUS": wire.READDIRPLUS,
    "FUSE_RELEASEDIR": wire.RELEASEDIR,
    "FUSE_INTERRUPT": wire.INTERRUPT,
    "FUSE_PARALLEL_DIROPS": wire.PARALLEL_DIROPS,
    "FUSE_CACHE_SYMLINKS": wire.CACHE_SYMLINKS,
    "FUSE_MAX_PAGES": wire.MAX_PAGES,
    "FOPEN_KEEP_CACHE": wire.KEEP_CACHE,
    "FUSE_NOTIFY_INVAL_ENTRY": wire.INVALIDATE_ENTRY,
    f"FUSE_MIN_READ_BUFFER <= {wire.READ_BUFFER}": 1,
}


def test_layouts_are_the_kernels(tmp_path: Path) -> None:
    """Sizes, offsets and numbers are what the C compiler makes of <linux/fuse.h>."""
    lines = [f'printf("%zu\\n", sizeof({name}));' for name in LAYOUTS]
    lines += [f'printf("%zu\\n", offsetof(struct {place}));' for place in OFFSETS]
    lines += [f'printf("%llu\\n", (unsigned long long)({name}));' for name in NUMBERS]
    source = tmp_path / "layouts.c"
    source.write_text(
        "#include <stdio.h>\n#include <stddef.h>\n#include <linux/fuse.h>\nint main(void){" + "".join(lines) + "}"
    )
    subprocess.run(["cc", "-o", tmp_path / "layouts", source], check=True)
    told = subprocess.run([tmp_path / "layouts"], check=True, capture_output=True, text=True).stdout.split()
    expected = [*(layout.size for layout in LAYOUTS.values()), *OFFSETS.values(), *NUMBERS.values()]
    assert dict(zip([*LAYOUTS, *OFFSETS, *NUMBERS], map(int, told), strict=True)) == dict(
        zip([*LAYOUTS, *OFFSETS, *NUMBERS], expected, strict=True)
    )


@pytest.mark.parametrize("offered", [0, wire.PARALLEL_DIROPS, wire.PARALLEL_DIROPS | wire.CACHE_SYMLINKS | 1])
@pytest.mark.parametrize("large", [0, wire.MAX_PAGES])
def test_the_kernel_is_asked_only_for_what_it_offers(offered: int, large: int) -> None:
    """Beside libfuse's own flags: parallel lookups, kept links and large READs where they are offered, many requests at
    once, and no larger ones than we have room for."""
    body = wire.INIT_OUT.pack(7, 31, 131072, 0b1001, 0, 0, 16 << 20, 1, 0) + bytes(34)
    reply = wire.handshake_for_kernel(wire.answered(9, body), offered | large, 4096)
    assert len(reply) == wire.REPLY.size + len(body)
    told = wire.INIT_OUT.unpack_from(reply, wire.REPLY.size)
    major, minor, ahead, flags, background, congestion, most, granularity, pages = told
    assert (major, minor, ahead, granularity) == (7, 31, 131072, 1)
    assert flags == 0b1001 | (offered & (wire.PARALLEL_DIROPS | wire.CACHE_SYMLINKS)) | large
    assert (background, congestion) == (4096, 3072)
    assert most + 4096 < wire.READ_BUFFER
    assert pages == (256 if large else 0)


def test_libfuse_is_offered_all_but_large_requests() -> None:
    """What else the kernel says of itself stays."""
    rest = bytes(range(48))  # as long as protocol 7.36 has it
    head = wire.REQUEST.pack(wire.HEADER + wire.INIT_IN.size + len(rest), wire.INIT, 3, 0, 0, 0, 0, 0)
    message = head + wire.INIT_IN.pack(7, 40, 131072, 0xFFFF_FFFF) + rest
    changed = wire.handshake_for_libfuse(message)
    assert changed == head + wire.INIT_IN.pack(7, 40, 131072, 0xFFFF_FFFF & ~wire.MAX_PAGES) + rest


def test_a_refused_handshake_stays_as_it_is() -> None:
    """An error instead of an answer is passed on."""
    refusal = wire.failed(9, 71)
    assert wire.handshake_for_kernel(refusal, 0xFFFF_FFFF, 4096) == refusal


@pytest.mark.parametrize("length", range(1, 18))
def test_names_are_padded_to_eight(length: int) -> None:
    """A dentry ends where the kernel looks for the next."""
    assert (length + len(wire.PADDING[length & 7])) % 8 == 0
    assert len(wire.PADDING[length & 7]) < 8
