"""The control socket's protocol, both ends: answers, news, errors, silence, clients that leave."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from mountfs.control import ControlError, ask, listen, protocol, socket_path
from mountfs.errors import Absent


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A socket's path, longer than bind takes (unix(7): 107 bytes)."""
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    return str(directory / "m.sock")


class Served:
    """Verbs of this test, and what became of them."""

    def __init__(self) -> None:
        self.ended = trio.Event()

    def table(self) -> dict[str, protocol.Verb]:
        return {"echo": self.echo, "count": self.count, "fail": self.fail, "bug": self.bug, "stay": self.stay}

    async def echo(self, args: Mapping[str, Any], news: protocol.News) -> Any:
        return dict(args)

    async def count(self, args: Mapping[str, Any], news: protocol.News) -> Any:
        for number in range(3):
            await news(number)
        return "done"

    async def fail(self, args: Mapping[str, Any], news: protocol.News) -> Any:
        raise Absent("it is gone", advice="look elsewhere")

    async def bug(self, args: Mapping[str, Any], news: protocol.News) -> Any:
        raise ValueError("a bug")

    async def stay(self, args: Mapping[str, Any], news: protocol.News) -> Any:
        try:
            while True:
                await news("still here")
                await trio.sleep(0.01)
        finally:
            self.ended.set()


def serve(path: str, work: Callable[[], object], served: Served | None = None) -> Any:
    """``work`` in a thread, beside a server."""

    async def main() -> Any:
        verbs = served or Served()
        with trio.fail_after(20):
            async with listen(path, verbs.table()):
                result = await trio.to_thread.run_sync(work)
                if served is not None:
                    await served.ended.wait()
        return result

    result = trio.run(main)
    assert not os.path.exists(path)
    return result


def test_an_answer(path: str) -> None:
    """News come in order, the result comes last; the socket is its owner's alone, and goes with the server."""

    def work() -> tuple[list[Any], int]:
        return [*ask(path, "count"), *ask(path, "echo", {"a": "ü"})], stat.S_IMODE(os.stat(path).st_mode)

    assert serve(path, work) == ([0, 1, 2, "done", {"a": "ü"}], 0o600)


def test_errors(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """An error keeps its words, its advice and its errno; a bug is told without them and is in the log."""

    def work() -> list[ControlError]:
        found = []
        for verb in ("fail", "nonsense", "bug"):
            with pytest.raises(ControlError) as error:
                list(ask(path, verb))
            found.append(error.value)
        return found

    gone, unknown, bug = serve(path, work)
    assert (gone.message, gone.advice, gone.number) == ("it is gone", "look elsewhere", 2)
    assert unknown.message == "no such request: nonsense"
    assert bug.message == "the request failed inside mountfs"
    assert "a bug" in caplog.text


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b'{"v": 99, "verb": "echo"}\n', b"[]\n"])
def test_what_is_no_request(path: str, line: bytes) -> None:
    """Whatever a client sends, it gets an error in words, and the server goes on."""

    def work() -> tuple[Any, Any]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            with protocol._short(path) as short:
                client.connect(short)
            client.sendall(line)
            answer = json.loads(client.makefile("rb").readline())
        return answer, list(ask(path, "echo"))

    answer, after = serve(path, work)
    assert "version" in answer["error"]["message"]
    assert after == [{}]


def test_a_client_that_leaves(path: str) -> None:
    """The work for a client that left is ended."""
    served = Served()

    def work() -> None:
        answers = ask(path, "stay")
        assert next(answers) == "still here"
        answers.close()  # type: ignore[attr-defined]

    serve(path, work, served)


def test_a_server_that_hangs(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is told from work: while the loop turns the server says that it is alive."""
    monkeypatch.setattr(protocol, "ALIVE", 0.05)

    class Slow(Served):
        async def echo(self, args: Mapping[str, Any], news: protocol.News) -> Any:
            await trio.sleep(0.6)
            return "at last"

    async def main() -> None:
        async with listen(path, Slow().table()):
            told = await trio.to_thread.run_sync(lambda: list(ask(path, "echo", timeout=0.3)))
            assert told == ["at last"]

    trio.run(main)
    with socket.socket(socket.AF_UNIX) as silent, protocol._short(path) as short:
        silent.bind(short)
        silent.listen()
        with pytest.raises(ControlError, match=r"did not answer within 0\.2 s"):
            list(ask(path, "echo", timeout=0.2))


def test_nobody_listens(path: str) -> None:
    """No socket, and the socket of a dead daemon, are told alike; a new daemon takes its place."""
    with pytest.raises(ControlError, match="no daemon listens"):
        list(ask(path, "echo"))
    with socket.socket(socket.AF_UNIX) as dead, protocol._short(path) as short:
        dead.bind(short)
    with pytest.raises(ControlError, match="no daemon listens"):
        list(ask(path, "echo"))
    assert serve(path, lambda: list(ask(path, "echo"))) == [{}]


def test_where_it_lies() -> None:
    """The path tells the mount's name, and two mounts never share one."""
    first, second = socket_path("/run/m", "/mnt/a"), socket_path("/run/m", "/srv/a")
    assert first.startswith("/run/m/a-")
    assert first.endswith(".sock")
    assert first != second
