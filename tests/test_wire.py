"""The kernel's protocol in bytes: our layouts against the kernel's own header, and the handshake."""

from __future__ import annotations

import subprocess
from pathlib import Path
from struct import Struct

import pytest

from mountfs import wire

LAYOUTS: dict[str, Struct] = {
    "fuse_in_header": wire.REQUEST,
    "fuse_out_header": wire.REPLY,
    "fuse_entry_out": wire.ENTRY,
    "fuse_attr_out": wire.ATTRIBUTES,
    "fuse_direntplus": wire.DIRENT_PLUS,
    "fuse_forget_one": wire.FORGET_ONE,
    "fuse_batch_forget_in": wire.BATCH_IN,
    "fuse_open_in": wire.OPEN_IN,
    "fuse_interrupt_in": wire.INTERRUPT_IN,
}
OFFSETS: dict[str, int] = {
    "fuse_entry_out, attr.ino": Struct("<QQQQII").size,
    "fuse_entry_out, attr.mode": Struct("<QQQQIIQQQQQQIII").size,
    "fuse_attr_out, attr.size": Struct("<QIIQ").size,
    "fuse_direntplus, dirent.namelen": Struct("<128xQQ").size,
    "fuse_read_in, size": 16,
    "fuse_read_in, fh": 0,
    "fuse_release_in, fh": 0,
    "fuse_open_out, open_flags": 8,
    "fuse_init_in, flags": 12,
    "fuse_init_out, flags": 12,
    "fuse_init_out, max_background": 16,
    "fuse_init_out, congestion_threshold": 18,
    "fuse_notify_inval_entry_out, namelen": 8,
    "fuse_in_header, pid": 32,
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
    "FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ": wire.SPLICING,
    "FOPEN_KEEP_CACHE": wire.KEEP_CACHE,
    "FUSE_NOTIFY_INVAL_ENTRY": wire.INVALIDATE_ENTRY,
    f"FUSE_MIN_READ_BUFFER <= {wire.READ_BUFFER}": 1,
}


def test_layouts_are_the_kernels(tmp_path: Path) -> None:
    """Sizes, offsets and numbers are what the C compiler makes of <linux/fuse.h>."""
    lines = [f'printf("%zu\\n", sizeof(struct {name}));' for name in LAYOUTS]
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


def _init(flags: int) -> bytes:
    return wire.REQUEST.pack(wire.HEADER + 64, wire.INIT, 7, 0, 0, 0, 0, 0) + wire.INIT_IN.pack(7, 44, 131072, flags)


def test_libfuse_is_offered_no_splicing() -> None:
    """What the kernel offers reaches libfuse as it is, but for splicing, which needs the device itself."""
    every = 0xFFFF_FFFF
    passed = wire.handshake_for_libfuse(_init(every))
    assert wire.INIT_IN.unpack_from(passed, wire.HEADER) == (7, 44, 131072, every & ~wire.SPLICING)
    assert passed[: wire.HEADER] == _init(every)[: wire.HEADER]


@pytest.mark.parametrize("offered", [0, wire.PARALLEL_DIROPS, wire.PARALLEL_DIROPS | wire.CACHE_SYMLINKS | 1])
def test_the_kernel_is_asked_only_for_what_it_offers(offered: int) -> None:
    """Beside libfuse's own flags: parallel lookups and kept links where they are offered, and many requests at once."""
    body = wire.INIT_OUT.pack(7, 31, 131072, 0b1001, 0, 0) + bytes(40)
    reply = wire.handshake_for_kernel(wire.answered(9, body), offered, 4096)
    assert len(reply) == wire.REPLY.size + len(body)
    major, minor, ahead, flags, background, congestion = wire.INIT_OUT.unpack_from(reply, wire.REPLY.size)
    assert (major, minor, ahead) == (7, 31, 131072)
    assert flags == 0b1001 | (offered & (wire.PARALLEL_DIROPS | wire.CACHE_SYMLINKS))
    assert (background, congestion) == (4096, 3072)


def test_a_refused_handshake_stays_as_it_is() -> None:
    """An error instead of an answer is passed on."""
    refusal = wire.failed(9, 71)
    assert wire.handshake_for_kernel(refusal, 0xFFFF_FFFF, 4096) == refusal


@pytest.mark.parametrize("length", range(1, 18))
def test_names_are_padded_to_eight(length: int) -> None:
    """A dentry ends where the kernel looks for the next."""
    assert (length + len(wire.PADDING[length & 7])) % 8 == 0
    assert len(wire.PADDING[length & 7]) < 8
