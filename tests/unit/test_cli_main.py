"""The command line as a person meets it: help, mistakes, interruptions, a full disk, and our own bugs."""

import errno
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import rlaif
from rlaif.cli import main
from rlaif.errors import EngineUnavailable, IncompleteRun, InputError, StoreError


@pytest.fixture
def rlaif_command(capsys, monkeypatch, tmp_path):
    """Call `rlaif` with words, its commands replaced where asked; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(main.tempfile, "tempdir", None)  # tempfile remembers the folder it found first
    monkeypatch.delenv("RLAIF_DEBUG", raising=False)

    def call(*words, action=None):
        if action is not None:
            app = typer.Typer()
            app.command()(action)
            monkeypatch.setattr(main, "load_command", lambda name: typer.main.get_command(app))
        try:
            main.run(list(words))
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def raising(error):
    def action() -> None:
        raise error

    return action


def test_help_lists_every_command_that_is_there(rlaif_command):
    code, out, _ = rlaif_command("--help")
    assert code == 0
    there = [name for name in main.COMMANDS if Path(main.__file__).with_name(f"{name}.py").exists()]
    assert {"init", "doctor"} <= set(there)
    for name in there:
        assert name in out


def test_every_command_loads_and_helps(rlaif_command):
    for name in main.COMMANDS:
        code, out, err = rlaif_command(name, "--help")
        assert code == 0, err
        assert f"rlaif {name}" in out
        assert "--install-completion" not in out


def test_a_command_that_is_not_there_breaks_nothing(rlaif_command, monkeypatch):
    monkeypatch.setitem(main.COMMANDS, "absent", "Not written yet.")
    code, out, _ = rlaif_command("--help")
    assert code == 0
    assert "absent" not in out
    assert rlaif_command("absent")[0] == 2


def test_version(rlaif_command):
    assert rlaif_command("--version") == (0, f"rlaif {rlaif.__version__}\n", "")


def test_an_unknown_command_names_the_nearest(rlaif_command):
    code, _, err = rlaif_command("doctr")
    assert code == 2
    assert "Did you mean 'doctor'" in err


def test_an_unknown_option_is_a_usage_error(rlaif_command):
    code, _, err = rlaif_command("doctor", "--depe")
    assert code == 2
    assert "--depe" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("principle [bold] has no question.", where="a[b].yaml:3", do="Add one."), 2),
        (EngineUnavailable("no server at http://127.0.0.1:1/v1", do="Start one."), 3),
        (StoreError("damaged"), 4),
        (IncompleteRun("too many without a verdict"), 5),
    ],
)
def test_an_error_of_ours_is_its_message_and_its_code(rlaif_command, error, code):
    got, out, err = rlaif_command("doctor", action=raising(error))
    assert got == code
    assert out == ""
    assert err == f"error: {error}\n"  # brackets as they are, long lines whole, no traceback


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "outputs/store/journal"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        RuntimeError("IO Error: could not write: No space left on device"),  # as DuckDB words it
    ],
)
def test_a_full_disk_is_told_as_such(rlaif_command, error):
    code, _, err = rlaif_command("doctor", action=raising(error))
    assert code == StoreError.exit_code
    assert "the disk is full" in err
    assert "what was written is kept" in err


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_place_one_may_not_write_to_is_no_bug(rlaif_command, number):
    code, _, err = rlaif_command("doctor", action=raising(OSError(number, "not allowed", "outputs/runs")))
    assert code == StoreError.exit_code
    assert "outputs/runs" in err
    assert "choose another place" in err


@pytest.mark.parametrize("number", [errno.ENOTDIR, errno.EEXIST, errno.EISDIR])
def test_a_file_where_a_folder_is_wanted_is_a_mistake_and_no_bug(rlaif_command, number):
    code, _, err = rlaif_command("doctor", action=raising(OSError(number, "not so", "rlaif.yaml")))
    assert code == InputError.exit_code
    assert "rlaif.yaml: there is a file where a folder is wanted" in err


def test_another_os_error_is_not_called_a_full_disk(rlaif_command):
    code, _, err = rlaif_command("doctor", action=raising(OSError(errno.EIO, "Input/output error")))
    assert code == main.BUG
    assert "disk is full" not in err


def test_a_bug_leaves_its_traceback_in_a_file(rlaif_command):
    code, _, err = rlaif_command("doctor", action=raising(ZeroDivisionError("by [red] nought")))
    assert code == main.BUG
    assert "ZeroDivisionError: by [red] nought" in err
    assert "Traceback" not in err
    written = Path(re.search(r"traceback: (\S+)", err).group(1)).read_text()
    assert "Traceback (most recent call last)" in written
    assert "in action" in written


def test_a_bug_where_no_file_can_be_written_shows_its_traceback(rlaif_command, monkeypatch):
    def full(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    code, _, err = rlaif_command("doctor", action=raising(ZeroDivisionError("nought")))
    assert code == main.BUG
    assert "ZeroDivisionError: nought" in err
    assert "in action" in err


def test_debugging_shows_the_traceback(rlaif_command, monkeypatch):
    monkeypatch.setenv("RLAIF_DEBUG", "1")
    for error in (ZeroDivisionError("nought"), InputError("wrong")):
        _, _, err = rlaif_command("doctor", action=raising(error))
        assert "Traceback (most recent call last)" in err


def test_an_interruption_says_how_to_go_on(rlaif_command):
    code, _, err = rlaif_command("doctor", action=raising(KeyboardInterrupt()))
    assert code == 130
    assert "the same command continues" in err
    assert "Traceback" not in err


def test_a_real_ctrl_c_ends_in_130(tmp_path):
    program = (
        "import time, typer\nfrom rlaif.cli import main\napp = typer.Typer()\n"
        "@app.command()\ndef wait() -> None:\n    print('ready', flush=True)\n    time.sleep(600)\n"
        "main.load_command = lambda name: typer.main.get_command(app)\nmain.run(['doctor'])\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "the same command continues" in err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_bug():
    program = "from rlaif.cli import main; main.run(['doctor', '--json'])"
    running = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    running.stdout.close()
    err = running.stderr.read()
    running.wait(timeout=120)
    assert "Traceback" not in err
    assert "bug" not in err
