"""A step that fails is made again from where it was: no compressed byte is passed over."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import pytest
import trio

from mountfs.archive.pump import InflatePump
from mountfs.archive.transfers import Archive
from mountfs.errors import CacheDamaged, ServiceFailed
from mountfs.model import Kind, Member, MemberPath, Span

T = TypeVar("T")

PLAIN = random.Random(2).randbytes(1 << 20) * 4
_DEFLATE = zlib.compressobj(1, zlib.DEFLATED, -15)
PACKED = _DEFLATE.compress(PLAIN) + _DEFLATE.flush()
MEMBER = Member(
    MemberPath(b"f"), Kind.FILE, len(PLAIN), 0, compressed_size=len(PACKED), crc=zlib.crc32(PLAIN), method=8
)


class Kept:
    """A local file that is deleted when it is read for the ``lost``-th time."""

    def __init__(self, lost: int) -> None:
        self._left = lost

    def read(self, offset: int, size: int) -> bytes:
        self._left -= 1
        if not self._left:
            raise CacheDamaged("it was deleted")
        return PACKED[offset : offset + size]


class Failing:
    """An archive whose service fails the first time that deleted bytes are asked for again."""

    label = "kaizen/s_1"
    latency = 0.0

    def __init__(self, lost: int) -> None:
        self.kept = Kept(lost)
        self.workers = self
        self.failures = 0

    async def ensure(self, *_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()

    async def read(self, span: Span) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self.failures:
            self.failures += 1
            raise ServiceFailed("503 meanwhile", advice="try again")
        return PACKED[span.start : span.stop]

    def parallel_for(self, _: object) -> int:
        return 1

    async def on_cpu(self, call: Callable[..., T], *args: Any) -> T:
        return await trio.to_thread.run_sync(call, *args)

    cpu = on_cpu


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_piece_that_could_not_be_had_is_asked_for_again(lost: int) -> None:
    archive = Failing(lost)

    async def main() -> bytes:
        pump = InflatePump(cast("Archive", archive), MEMBER, Span(0, len(PACKED)), checkpoints=False)
        out = bytearray()
        while True:
            try:
                if await pump.step(out.extend, lambda: None, lambda: len(PLAIN)):
                    return bytes(out)
            except ServiceFailed:
                assert archive.failures == 1

    assert trio.run(main) == PLAIN
    assert archive.failures == 1
