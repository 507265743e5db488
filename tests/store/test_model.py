"""A store against a dictionary: any sequence of writes, crashes, power cuts, evictions and restarts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from store.tools import MIB, Clock, address, disk_use, pattern

from mountfs.errors import CacheDamaged, CacheFull
from mountfs.model import Span
from mountfs.store import Snapshot, Store
from mountfs.store.descriptors import Descriptors

_BOUND = MIB
_SESSIONS = st.integers(0, 5)
_SIZE = 300_000


class StoreMachine(RuleBasedStateMachine):
    """The model: which bytes may be here (those ever written), which must be (of what is open), what is recorded."""

    descriptors = staticmethod(Descriptors)

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="mountfs-model-"))
        self.clock = Clock()
        self.boot = 0
        self.stores: list[Store] = []
        self.held: dict[int, Snapshot] = {}
        self.written: dict[int, set[int]] = {}
        self.records: dict[int, int] = {}

    @initialize()
    def begin(self) -> None:
        """The first process."""
        self._start()

    def _start(self) -> None:
        boot = f"boot-{self.boot}"
        store = Store(
            str(self.directory),
            max_size=_BOUND,
            min_free=0,
            wall=self.clock,
            clock=self.clock,
            boot_id=lambda: boot,
            descriptors=self.descriptors(),
        )
        self.store = store.open()
        self.stores.append(store)

    @rule(session=_SESSIONS)
    def hold(self, session: int) -> None:
        """Open a snapshot and keep it open."""
        if session not in self.held:
            self.held[session] = self.store.snapshot(address(f"s{session}"), "v1")
            self.written[session] = set()

    @rule(session=_SESSIONS)
    def release(self, session: int) -> None:
        """Close it again."""
        if session in self.held:
            self.held.pop(session).close()

    @rule(session=_SESSIONS, start=st.integers(0, _SIZE - 1), size=st.integers(1, 100_000))
    def write(self, session: int, start: int, size: int) -> None:
        """Write some bytes of an open one; if there is no room, that is said."""
        if session in self.held:
            stop = min(start + size, _SIZE)
            try:
                self.held[session].write(start, pattern(session, start, stop))
            except CacheFull:
                return
            self.written[session] |= set(range(-(-start // 1000), stop // 1000))
            assert self.held[session].read(start, stop - start) == pattern(session, start, stop)

    @rule(session=_SESSIONS, index=st.integers(0, 2), size=st.integers(1, 60_000))
    def inflate(self, session: int, index: int, size: int) -> None:
        """Inflate a member."""
        if session in self.held:
            try:
                with self.held[session].new_spool(index) as spool:
                    spool.write(pattern(100 + index, 0, size))
                    spool.finish().close()
            except CacheFull:
                return

    @rule(session=_SESSIONS, value=st.integers())
    def record(self, session: int, value: int) -> None:
        """Save a record."""
        if self.store.session(address(f"s{session}")).save({"value": value}, snapshot="v1"):
            self.records[session] = value

    @rule(session=_SESSIONS)
    def sync(self, session: int) -> None:
        """Bring one to the disk."""
        if session in self.held:
            self.held[session].mark_synced()

    @rule(session=_SESSIONS)
    def drop(self, session: int) -> None:
        """Declare one damaged."""
        if session in self.held:
            self.store.drop(self.held[session])
            self.held.pop(session).close()

    @rule(seconds=st.floats(0, 1000))
    def wait(self, seconds: float) -> None:
        """Time passes, and housekeeping is done."""
        self.clock.advance(seconds)
        self.store.maintain()

    @rule()
    def delete_everything(self) -> None:
        """rm -rf of the cache."""
        shutil.rmtree(self.directory)
        self.store.maintain()
        self.records.clear()

    @rule(power_cut=st.booleans(), clean=st.booleans())
    def restart(self, power_cut: bool, clean: bool) -> None:
        """The process ends, in order or by a kill, and another begins, perhaps under another boot."""
        if clean:
            self.store.close()
        else:
            for snapshot in self.store._table._open.values():
                snapshot._files.close()
                snapshot._shut = True
            self.store._table._open.clear()
            self.store._place._leave()
            self.store._ledger.close()
        self.held.clear()
        self.written.clear()
        self.boot += power_cut
        self._start()

    @invariant()
    def what_is_open_is_whole(self) -> None:
        """Nothing that was written to an open snapshot is missing."""
        for session, snapshot in self.held.items():
            for piece in self.written[session]:
                assert snapshot.has(Span(piece * 1000, piece * 1000 + 1000))

    @invariant()
    def what_is_open_is_right(self) -> None:
        """Whatever an open snapshot has is what was written, or it is lost, and then it says so from there on."""
        for session, snapshot in self.held.items():
            for start in range(0, _SIZE, 8192):
                span = Span(start, start + 100)
                if snapshot.has(span):
                    try:
                        assert snapshot.read(start, span.size) == pattern(session, *span)
                    except CacheDamaged:
                        assert not snapshot.has(span)

    @invariant()
    def what_is_here_is_right(self) -> None:
        """Whatever a snapshot says it has is what was written; members too."""
        for session in range(6):
            snapshot = self.store.find(address(f"s{session}"), "v1")
            if snapshot is None:
                continue
            with snapshot:
                for start in range(0, _SIZE, 4096):
                    if snapshot.has(Span(start, start + 4096)):
                        assert snapshot.read(start, 4096) == pattern(session, start, start + 4096)
                for index in range(3):
                    member = snapshot.member(index)
                    if member is not None:
                        with member:
                            assert member.read(0, member.size) == pattern(100 + index, 0, member.size)

    @invariant()
    def records_are_the_last_saved(self) -> None:
        """A record is what was saved last, or was evicted."""
        for session in range(6):
            facts = self.store.session(address(f"s{session}")).load()
            assert facts is None or facts == {"value": self.records[session]}

    @invariant()
    def the_bound_holds(self) -> None:
        """du never exceeds max_size; a directory deleted and made again has been counted by then."""
        assert disk_use(self.directory) <= _BOUND

    def teardown(self) -> None:
        """Nothing stays."""
        for store in self.stores:
            store.close()
        shutil.rmtree(self.directory)


class FewDescriptors(StoreMachine):
    """The same with nearly every file closed between two uses: what is open may then be lost with its directory."""

    descriptors = staticmethod(lambda: Descriptors(lambda: 0, fewest=1))

    @rule()
    def delete_everything(self) -> None:
        """rm -rf of the cache."""
        super().delete_everything()
        for pieces in self.written.values():
            pieces.clear()


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestFewDescriptors = FewDescriptors.TestCase
TestFewDescriptors.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
