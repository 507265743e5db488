"""The command line as a whole: help, exit status, options that stand anywhere, errors as one line."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from running import Run

import mountfs.cli
from mountfs.cli import VERBS
from mountfs.cli.common import show_errors
from mountfs.errors import ConfigError, MountfsError


def test_help_names_every_verb(run: Run) -> None:
    """The help tells what there is, and each verb tells its own."""
    told = run("--help")
    assert told.status == 0
    for verb, line in VERBS.items():
        assert f"{verb} " in told.out
        assert line in told.out
        assert run(verb, "-h").status == 0


@pytest.mark.parametrize("verb", VERBS)
def test_verbs(verb: str) -> None:
    """Each row of VERBS has its module and command."""
    module = import_module(f"mountfs.cli.{verb.replace('-', '_')}")
    assert isinstance(module.command, click.Command)


def test_help_is_quick() -> None:
    """The help imports nothing that is slow: neither pydantic, httpx, trio, nor rich."""
    program = (
        "import sys\n"
        "from mountfs.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pydantic', 'httpx', 'trio', 'rich', 'pyfuse3'}))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_version(run: Run) -> None:
    """The version names the parts a bug may come from."""
    told = run("--version")
    assert told.status == 0
    for part in ("mountfs", "pyfuse3", "trio", "libfuse", "Python", "Linux"):
        assert f"\n{part} " in f"\n{told.out}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unmount", "x"], "no such verb: unmount; verbs are mount, umount,"),
        (["mount", "--sideways"], "No such option"),
        (["umount"], "Missing argument 'MOUNTPOINT'"),
        (["mount", "a", "b"], "unexpected extra argument"),
        (["ls", "--log-level", "loud"], "'loud' is not one of"),
        (["config", "chek"], "No such command 'chek'"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], message: str) -> None:
    """A wrong call has status 2 and says what is wrong."""
    told = run(*arguments)
    assert told.status == 2
    assert message in told.err
    assert "Traceback" not in told.err


def test_wrong_level_in_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """$MOUNTFS_LOG is checked as the option is."""
    monkeypatch.setenv("MOUNTFS_LOG", "loud")
    told = run("mount", "-f", "x")
    assert told.status == 2
    assert "$MOUNTFS_LOG: no such level: loud" in told.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["config", "check", "--config", "{}", "--log-level", "debug"],
        ["config", "--config", "{}", "--log-level", "debug", "check"],
        ["--config", "{}", "--log-level", "debug", "config", "check"],
        ["--config", "/no/such/file", "config", "check", "--config", "{}"],
    ],
)
def test_options_stand_anywhere(run: Run, config: str, arguments: list[str]) -> None:
    """--config and --log-level count before and after a verb and a sub-verb; the last one wins."""
    told = run(*(word.format(config) for word in arguments))
    assert told.status == 0, told.err
    assert told.out.startswith(f"{config}: ok")


def test_no_configuration(run: Run) -> None:
    """With nothing to go by, one line says what to do."""
    for verb in ("mount", "ls"):
        told = run(verb, *(["-f", "x"] if verb == "mount" else []))
        assert told.status == 1
        assert told.err.count("\n") == 1
        assert "set one of KAIZEN_API_KEY" in told.err


def test_each_problem_is_a_line(run: Run, tmp_path: Path) -> None:
    """Two mistakes are two lines, each with its place, and no traceback."""
    path = tmp_path / "bad.toml"
    path.write_text('[cache]\nmax_sise = 1\n[providers.dari]\ntype = "dari"\npathz = []\n')
    told = run("config", "check", "--config", str(path))
    assert told.status == 1
    assert told.err.splitlines() == [
        f'mountfs: {path}:2: cache.max_sise: unknown key; did you mean "max_size"?',
        f'mountfs: {path}:5: providers.dari.pathz: unknown key; did you mean "paths"?',
    ]


def test_errors_from_a_nursery(capsys: pytest.CaptureFixture[str]) -> None:
    """Our own errors are shown also where a nursery wrapped them; what is no error of ours is not swallowed."""
    group = ExceptionGroup("", [ExceptionGroup("", [ConfigError("one", advice="two")]), MountfsError("three")])
    show_errors(group)
    assert capsys.readouterr().err == "mountfs: one; two\nmountfs: three\n"
    with pytest.raises(ExceptionGroup):
        show_errors(ExceptionGroup("", [MountfsError("one"), ValueError("a bug")]))


def test_closed_pipe(config: str) -> None:
    """A reader that has seen enough is no reason for a traceback."""
    words = [str(Path(sys.executable).with_name("mountfs")), "config", "show", "--config", config]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait(30) == 1


def test_the_module_runs(run: Run) -> None:
    """``python -m mountfs`` is the command line."""
    ended = subprocess.run([sys.executable, "-m", "mountfs", "--help"], capture_output=True, text=True, check=True)
    assert ended.stdout == run("--help").out
    assert mountfs.cli.command.name == "command"
