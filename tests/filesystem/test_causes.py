"""The second table of design.md §2, a test a row: every cause, the errno it becomes, and one log line that helps."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from drives import PROVIDERS, Drive, World, id_of, zip_of
from zips import ENCRYPTED, Part, archive

from mountfs.demo import steps
from mountfs.demo.faults import Mode, Proxy

FILES = {"a.txt": b"alpha", "logs/b.log": b"beta\n" * 100}
BIG = os.urandom(6 << 20)


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture, world: World) -> Iterator[None]:
    """Whatever fails leaves a line, and no line holds a secret."""
    yield
    lines = "\n".join(caplog.messages)
    for fake in world.fakes.services:
        assert fake.key not in lines
    for secret in ("Signature", "X-Amz", "SECRET", "token="):
        assert secret not in lines


def told(caplog: pytest.LogCaptureFixture, *words: str) -> bool:
    """Whether one line, not a debug one, has all the words."""
    return any(all(word in line for word in words) for line in caplog.messages)


def through(world: World, provider: str, proxy: Proxy) -> None:
    """The provider is reached through a proxy."""
    world.set(f"providers.{provider}", base_url=proxy.url)


@pytest.fixture
def api(world: World) -> Iterator[Proxy]:
    """A fault proxy in front of Dari."""
    with Proxy(world.fakes.dari.url) as proxy:
        through(world, "dari", proxy)
        yield proxy


def expect_errno(world: World, path: str, errno: str) -> None:
    """Listing a directory fails so."""

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls(path)) == errno

    world.run(main)


# -- keys ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_key(world: World, caplog: pytest.LogCaptureFixture, provider: str) -> None:
    """Without a key: ENOKEY, no request, and a line that names the setting."""
    world.session(provider)
    world.without_key(provider)

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls(f"{provider}/{id_of(provider)}")) == "ENOKEY"
        assert drive.asked() == []

    world.run(main)
    assert told(caplog, provider, "no key is configured", "api_key_env")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_wrong_key(world: World, caplog: pytest.LogCaptureFixture, provider: str) -> None:
    """401: EKEYREJECTED, and a line that says where the key came from."""
    world.session(provider)
    world.wrong_key(provider)
    expect_errno(world, f"{provider}/{id_of(provider)}", "EKEYREJECTED")
    assert told(caplog, provider, "401", "key")


def test_wrong_key_on_listing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A listing refused for its key is EKEYREJECTED, once, where there is nothing else to show."""
    world.wrong_key("dari")

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari")) == "EKEYREJECTED"
        drive.asked()
        assert await drive.error(drive.ls("dari")) == "EKEYREJECTED"
        assert drive.asked() == []

    world.run(main)
    assert told(caplog, "dari", "401")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_forbidden(world: World, caplog: pytest.LogCaptureFixture, provider: str) -> None:
    """403 from the API: EACCES."""
    world.session(provider).forbidden = True
    expect_errno(world, f"{provider}/{id_of(provider)}", "EACCES")
    assert told(caplog, provider, "403")


# -- refused requests ----------------------------------------------------------------------------------------------


def test_all_paths_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """400 for every one of Dari's ``paths``: EINVAL, with the service's own words."""
    world.session("dari", zip_of(FILES))
    world.set("providers.dari", paths=["nowhere", "neither"])
    expect_errno(world, "dari/s_1", "EINVAL")
    assert told(caplog, "dari", "400", "Path does not exist")


def test_some_paths_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Of several ``paths`` the refused ones are absent and logged, the others are there."""
    world.session("dari", zip_of(FILES))
    world.set("providers.dari", paths=["logs", "nowhere"])

    async def main(drive: Drive) -> None:
        assert await drive.ls("dari/s_1") == ["logs"]
        assert await drive.cat("dari/s_1/logs/b.log") == FILES["logs/b.log"]

    world.run(main)
    assert told(caplog, "nowhere")


# -- busy ----------------------------------------------------------------------------------------------------------


def test_not_ready(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """409: EBUSY, and the service's advice in the log."""
    world.session("dari").ready = False
    expect_errno(world, "dari/s_1", "EBUSY")
    assert told(caplog, "dari/s_1", "run the session first")


@pytest.mark.parametrize("date", [False, True])
def test_throttled_beyond_the_deadline(world: World, date: bool) -> None:
    """429 with a Retry-After beyond the deadline: EBUSY at once, and not asked again before that time."""
    world.session("dari")
    after = "Wed, 21 Oct 2099 07:28:00 GMT" if date else "3600"
    world.fakes.dari.fail_next(429, times=100, headers={"retry-after": after}, path="workspace")

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari/s_1")) == "EBUSY"
        assert sum("workspace" in line for line in drive.asked()) == 1
        drive.later(60)
        assert await drive.error(drive.ls("dari/s_1")) == "EBUSY"
        assert drive.asked() == []

    world.run(main)


def test_throttled_within_the_deadline(world: World) -> None:
    """429 with a short Retry-After is waited for, and the user notices nothing."""
    world.session("dari", zip_of(FILES))
    world.set("network", retries=2)
    world.fakes.dari.fail_next(429, headers={"retry-after-ms": "20"}, path="workspace")

    async def main(drive: Drive) -> None:
        assert await drive.ls("dari/s_1") == ["a.txt", "logs"]

    world.run(main)


def test_throttling_binds_one_session(world: World) -> None:
    """A Retry-After for one session's archive does not keep the others waiting."""
    world.session("dari", zip_of(FILES))
    world.session("dari", zip_of(FILES), number=2)
    world.fakes.dari.fail_next(429, times=100, headers={"retry-after": "3600"}, path="s_1/workspace")

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari/s_1")) == "EBUSY"
        assert await drive.ls("dari/s_2") == ["a.txt", "logs"]

    world.run(main)


# -- a service that fails ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_errors(world: World, caplog: pytest.LogCaptureFixture, provider: str, status: int) -> None:
    """5xx: EREMOTEIO."""
    world.session(provider)
    world.fake(provider).inject(steps.Answer(status), times=None)
    expect_errno(world, f"{provider}/{id_of(provider)}", "EREMOTEIO")
    assert told(caplog, provider, str(status))


def test_one_line_however_often_it_is_asked(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A failure leaves one line: what is believed is not logged again each time it is told."""
    world.session("dari")
    world.fakes.dari.inject(steps.Answer(500), times=None)

    async def main(drive: Drive) -> None:
        for _ in range(5):
            assert await drive.error(drive.ls("dari/s_1")) == "EREMOTEIO"

    world.run(main)
    assert sum("s_1" in line for line in caplog.messages) == 1


def test_server_error_is_retried(world: World) -> None:
    """One 503 is not seen by anybody: the request is repeated."""
    world.session("dari", zip_of(FILES))
    world.set("network", retries=1)
    world.fakes.dari.fail_next(503, path="workspace")

    async def main(drive: Drive) -> None:
        assert await drive.ls("dari/s_1") == ["a.txt", "logs"]

    world.run(main)


@pytest.mark.parametrize(
    "step", [steps.Reset(100), steps.Truncate(100), steps.Reset(None)], ids=["reset", "short", "early"]
)
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
def test_broken_bodies(world: World, step: steps.Step, ranges: bool) -> None:
    """A body that is reset or truncated, again and again: EREMOTEIO, never a part of a directory."""
    world.session("kaizen", zip_of({"a.bin": BIG[:4096]}))
    world.fakes.store.ranges = ranges
    world.fakes.store.inject(step, times=None)
    expect_errno(world, "kaizen/s_1", "EREMOTEIO")


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
def test_broken_body_is_resumed(world: World, ranges: bool) -> None:
    """A body that broke off once is gone on with or asked for again, and nobody notices."""
    files = {"a.bin": BIG[:100_000], "b.bin": BIG[100_000:200_000]}
    world.session("kaizen", zip_of(files))
    world.fakes.store.ranges = ranges
    world.set("network", retries=2)
    world.fakes.store.inject(steps.Reset(50_000), times=1)

    async def main(drive: Drive) -> None:
        assert await drive.tree("kaizen/s_1") == files

    world.run(main)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_archive_host_refuses(world: World, caplog: pytest.LogCaptureFixture, status: int) -> None:
    """An archive host that refuses a freshly minted URL, twice: EREMOTEIO (no matter that the API's 401 would be
    another)."""
    world.session("kaizen")
    world.fakes.store.inject(steps.Answer(status, "<Error><Code>AccessDenied</Code></Error>"), times=None)

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("kaizen/s_1")) == "EREMOTEIO"
        assert sum("getFileArchiveUrl" in line for line in drive.asked()) == 2

    world.run(main)
    assert told(caplog, "kaizen/s_1", str(status))


def test_expired_url_is_minted_again(world: World) -> None:
    """A URL that expired between two reads is minted again, once, and the read succeeds."""
    world.session("kaizen", zip_of({"a.bin": BIG, "b.txt": b"beta"}, stored=True))

    async def main(drive: Drive) -> None:
        await drive.ls("kaizen/s_1")
        world.fakes.store.expire_all()
        assert await drive.cat("kaizen/s_1/a.bin") == BIG
        assert sum("getFileArchiveUrl" in line for line in drive.asked()) == 2

    world.run(main)


def test_redirect_loop(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A redirect that goes round for ever: EREMOTEIO."""
    world.session("dari")
    world.fakes.dari.inject(steps.Redirect(), times=None, path="workspace.zip")
    expect_errno(world, "dari/s_1", "EREMOTEIO")
    assert told(caplog, "dari/s_1", "redirect")


def test_tls_failure(world: World, api: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    """A TLS handshake that fails: EREMOTEIO."""
    api.mode = Mode.NO_TLS
    world.session("dari")
    world.set("providers.dari", base_url=api.https_url)
    expect_errno(world, "dari/s_1", "EREMOTEIO")
    assert told(caplog, "dari/s_1", "TLS")


@pytest.mark.parametrize("provider", ["dari", "browserbase"])
def test_malformed_json(world: World, provider: str) -> None:
    """A web page where JSON is due: EREMOTEIO, on listing and on a session."""
    world.session(provider, pinned=False)
    world.fake(provider).inject(steps.Answer(200, "<html>welcome</html>"), times=None)

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls(provider)) == "EREMOTEIO"
        assert await drive.error(drive.stat(f"{provider}/{id_of(provider)}")) == "EREMOTEIO"

    world.run(main)


def test_kaizen_answers_without_a_url(world: World) -> None:
    """A 200 without ``downloadUrl``: EREMOTEIO."""
    world.session("kaizen")
    world.fakes.kaizen.inject(steps.Answer(200, {"url": "x"}), times=None)
    expect_errno(world, "kaizen/s_1", "EREMOTEIO")


# -- listings ------------------------------------------------------------------------------------------------------


def test_listing_too_large(world: World) -> None:
    """A listing over its size bound: EFBIG, not all of memory."""
    world.fakes.browserbase.inject(steps.Endless(b"[", b" " * (1 << 20)), times=None)
    expect_errno(world, "browserbase", "EFBIG")


def test_no_list_route(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A service without a list route, nothing pinned or cached: EOPNOTSUPP on the provider; others are not
    disturbed."""
    world.fakes.dari.removed = True
    world.session("browserbase", pinned=False)

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari")) == "EOPNOTSUPP"
        assert await drive.ls("browserbase") == [id_of("browserbase")]

    world.run(main)
    assert told(caplog, "dari", "no session list", "sessions =")


def test_no_list_route_but_pinned(world: World) -> None:
    """The same with a pinned session: that is shown."""
    world.session("dari")
    world.fakes.dari.listing = None

    async def main(drive: Drive) -> None:
        assert await drive.ls("dari") == ["s_1"]

    world.run(main)


def test_failed_listing_shows_the_last_good_one(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """When listing fails the last good list is shown, with one log line however often it is looked at."""
    world.session("dari", pinned=False)

    async def main(drive: Drive) -> None:
        assert await drive.ls("dari") == ["s_1"]
        world.fakes.dari.inject(steps.Answer(500), times=None)
        drive.later(31)
        caplog.clear()
        for _ in range(3):
            assert await drive.ls("dari") == ["s_1"]
        assert sum("list" in line for line in caplog.messages) == 1

    world.run(main)


def test_failed_listing_shows_what_is_cached(world: World) -> None:
    """After a restart a service that is down still shows the sessions in the cache, and gives their files."""
    world.session("dari", zip_of(FILES), pinned=False)

    async def first(drive: Drive) -> None:
        await drive.tree("dari/s_1")

    world.run(first)
    world.fakes.dari.inject(steps.Answer(500), times=None)

    async def second(drive: Drive) -> None:
        assert await drive.ls("dari") == ["s_1"]
        assert await drive.cat("dari/s_1/a.txt") == b"alpha"

    world.run(second)


# -- no way to it --------------------------------------------------------------------------------------------------


def test_connection_refused(world: World, api: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody listens: EHOSTUNREACH, on listing, on a session and on the lookup of an unlisted id."""
    world.session("dari")
    api.mode = Mode.REFUSE

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari/s_1")) == "EHOSTUNREACH"
        assert await drive.error(drive.stat("dari/s_2")) == "EHOSTUNREACH"

    world.run(main)
    assert told(caplog, "dari/s_1")


def test_name_that_does_not_resolve(world: World) -> None:
    """A host name that leads nowhere: EHOSTUNREACH."""
    world.session("dari")
    world.set("providers.dari", base_url="https://mountfs-test.invalid")
    expect_errno(world, "dari/s_1", "EHOSTUNREACH")


def test_black_hole(world: World, api: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    """A service that takes connections and never answers: ETIMEDOUT at the deadline; the second time at once."""
    world.session("dari")
    world.set("network", deadline="0.3s", lookup_timeout="0.3s", read_timeout="0.2s")
    world.set("freshness", failing="1h")
    api.mode = Mode.BLACK_HOLE

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari/s_1")) == "ETIMEDOUT"
        connections = api.connections
        assert await drive.error(drive.ls("dari/s_1")) == "ETIMEDOUT"
        assert await drive.error(drive.stat("dari/s_1/a.txt")) == "ETIMEDOUT"
        assert api.connections == connections

    world.run(main)
    assert told(caplog, "dari/s_1")


def test_black_hole_lookup_of_an_unlisted_id(world: World, api: Proxy) -> None:
    """The one question an unlisted id costs is bounded by ``lookup_timeout``, and not asked twice."""
    world.set("network", lookup_timeout="0.2s", deadline="20s")
    world.set("freshness", failing="1h")
    api.mode = Mode.BLACK_HOLE

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.stat("dari/s_1")) == "ETIMEDOUT"
        connections = api.connections
        assert await drive.error(drive.stat("dari/s_1")) == "ETIMEDOUT"
        assert api.connections == connections

    world.run(main)


def test_stalled_body(world: World) -> None:
    """A body that stops in the middle: ETIMEDOUT."""
    world.session("kaizen", zip_of({"a.bin": BIG[:100_000]}))
    world.set("network", deadline="0.5s", read_timeout="0.3s")
    world.fakes.store.inject(steps.Stall(1000), times=None)
    expect_errno(world, "kaizen/s_1", "ETIMEDOUT")


# -- archives ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
@pytest.mark.parametrize("body", [b"%PDF-1.7\nx", b"<!doctype html><p>", b"", zip_of(FILES)[:-30]])
def test_not_a_zip(world: World, body: bytes, ranges: bool) -> None:
    """A PDF, a web page, nothing at all, half a zip: EIO."""
    session = world.session("kaizen")
    session.archive = body
    world.fakes.store.ranges = ranges
    expect_errno(world, "kaizen/s_1", "EIO")


def test_broken_directory(world: World) -> None:
    """A directory that points outside of its archive: EIO."""
    world.session("dari", archive(Part("a.txt", b"alpha"), offset=7_000_000))
    expect_errno(world, "dari/s_1", "EIO")


def member_errno(world: World, data: bytes, name: str, errno: str) -> None:
    """``stat`` of a member works, opening or reading it fails so, and its neighbour is well."""
    world.session("kaizen", data)

    async def main(drive: Drive) -> None:
        assert name in await drive.ls("kaizen/s_1")
        await drive.stat(f"kaizen/s_1/{name}")
        assert await drive.error(drive.cat(f"kaizen/s_1/{name}")) == errno
        assert await drive.cat("kaizen/s_1/good.txt") == b"good"

    world.run(main)


GOOD = Part("good.txt", b"good", method=8)


@pytest.mark.parametrize(("method", "size"), [(0, 1000), (8, 1000), (8, 3 << 20)])
def test_wrong_crc(world: World, caplog: pytest.LogCaptureFixture, method: int, size: int) -> None:
    """A CRC that does not match: EIO, a line in the log, and the other members are well."""
    data = BIG[:size]
    member_errno(world, archive(Part("bad.bin", data, method=method, crc=1), GOOD), "bad.bin", "EIO")
    assert told(caplog, "bad.bin", "CRC")


def test_wrong_crc_of_a_large_stored_member(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A large stored member rests on ranges, length and ETag until all of it has been here; then a wrong CRC is
    EIO."""
    world.session("kaizen", archive(Part("bad.bin", BIG, crc=1), GOOD))

    async def main(drive: Drive) -> None:
        async with drive.file("kaizen/s_1/bad.bin") as handle:
            await drive.error(handle.read_all())
            await drive.settle(lambda: told(caplog, "bad.bin", "CRC"))
            assert await drive.error(handle.read(0)) == "EIO"
        assert await drive.error(drive.cat("kaizen/s_1/bad.bin")) == "EIO"
        assert await drive.cat("kaizen/s_1/good.txt") == b"good"

    world.run(main)


@pytest.mark.parametrize("size", [1000, 3 << 20], ids=["small", "large"])
def test_wrong_size(world: World, size: int) -> None:
    """A member that inflates to less, or more, than its directory says: EIO."""
    data = BIG[:size]
    member_errno(world, archive(Part("bad.bin", data, method=8, size=size + 5), GOOD), "bad.bin", "EIO")


def test_encrypted_member(world: World) -> None:
    """An encrypted member: EOPNOTSUPP at open; ``stat`` works."""
    member_errno(world, archive(Part("secret.txt", b"x" * 20, flags=ENCRYPTED), GOOD), "secret.txt", "EOPNOTSUPP")


def test_unknown_method(world: World) -> None:
    """A compression method nobody knows: EOPNOTSUPP at open; ``stat`` works."""
    member_errno(world, archive(Part("odd.bin", b"x" * 20, method=77), GOOD), "odd.bin", "EOPNOTSUPP")


def test_member_over_the_size_limit(world: World) -> None:
    """A member larger than ``max_member_size``: EFBIG at open."""
    world.set("limits", max_member_size="1KiB")
    member_errno(world, archive(Part("big.bin", b"x" * 5000, method=8), GOOD), "big.bin", "EFBIG")


def test_member_over_the_ratio(world: World) -> None:
    """A member that inflates beyond ``max_ratio``: EFBIG at open."""
    world.set("limits", max_ratio=10)
    member_errno(world, archive(Part("bomb.bin", bytes(4 << 20), method=8), GOOD), "bomb.bin", "EFBIG")


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
def test_archive_over_the_size_limit(world: World, caplog: pytest.LogCaptureFixture, ranges: bool) -> None:
    """An archive larger than ``max_archive_size``: EFBIG, and the line names the setting."""
    world.session("kaizen", zip_of({"a.bin": BIG[:100_000]}))
    world.fakes.store.ranges = ranges
    world.set("limits", max_archive_size="50KiB")
    expect_errno(world, "kaizen/s_1", "EFBIG")
    assert told(caplog, "max_archive_size")


def test_whole_archive_larger_than_the_cache(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Without ranges an archive larger than the cache may be is EFBIG, naming the setting."""
    world.session("kaizen", zip_of({"a.bin": BIG}))
    world.fakes.store.ranges = False
    world.set("cache", dir=str(world.cache), max_size="1MiB")
    expect_errno(world, "kaizen/s_1", "EFBIG")
    assert told(caplog, "cache.max_size")


# -- an archive that changed ---------------------------------------------------------------------------------------


def test_archive_changed_under_a_reader(world: World) -> None:
    """The archive changed and the old bytes are not here: ESTALE for the open snapshot, the new one at the next
    look."""
    session = world.session("kaizen", zip_of({"a.bin": BIG, "b.bin": BIG[::-1]}, stored=True))

    async def main(drive: Drive) -> None:
        await drive.ls("kaizen/s_1")
        session.archive = zip_of({"a.bin": BIG[::-1], "c.txt": b"new"}, stored=True)
        assert await drive.error(drive.cat("kaizen/s_1/a.bin")) == "ESTALE"
        assert await drive.ls("kaizen/s_1") == ["a.bin", "c.txt"]
        assert await drive.cat("kaizen/s_1/a.bin") == BIG[::-1]

    world.run(main)


def test_changed_etag_between_two_ranges(world: World) -> None:
    """Bytes under another ETag are never joined to those before."""
    world.session("kaizen", zip_of({"a.bin": BIG}, stored=True))

    async def main(drive: Drive) -> None:
        await drive.ls("kaizen/s_1")
        world.fakes.store.inject(steps.changed_etag(), times=None, ranged=True)
        assert await drive.error(drive.cat("kaizen/s_1/a.bin")) == "ESTALE"

    world.run(main)


# -- this machine --------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    place = tmp_path / "tiny"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_disk_reads_on_with_ranges(world: World, tiny: Path) -> None:
    """A full disk degrades to less caching: with ranges everything is still read right."""
    files = {"a.bin": BIG, "b.txt": b"beta"}
    world.session("kaizen", zip_of(files, stored=True))
    world.set("cache", dir=str(tiny / "cache"), min_free="0")

    async def main(drive: Drive) -> None:
        assert await drive.tree("kaizen/s_1") == files

    world.run(main)


def test_full_disk_without_ranges(world: World, tiny: Path) -> None:
    """A disk too full for an archive that comes only whole: a small one is held in memory, a large one is ENOSPC."""
    files = {"a.bin": BIG}
    world.session("kaizen", zip_of(files))
    world.session("kaizen", zip_of({"a.bin": bytes(70 << 20)}, stored=True), number=2)
    world.fakes.store.ranges = False
    world.set("cache", dir=str(tiny / "cache"), min_free="0")

    async def main(drive: Drive) -> None:
        assert await drive.tree("kaizen/s_1") == files
        assert await drive.error(drive.ls("kaizen/s_2")) == "ENOSPC"

    world.run(main)
