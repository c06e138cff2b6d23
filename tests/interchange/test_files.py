"""Saving over what is there: links, modes, leftovers, other writers, full disks, and names that are no files."""

import errno
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.interchange import files
from funcnn.interchange.files import appended, opened, replaced
from tests.interchange import kills

ONE, TWO = {"w": np.ones(1)}, {"w": np.full(3, 2.0)}


def write(path: Path, content: bytes) -> None:
    with replaced(path) as file:
        file.write(content)


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    real, link, second = tmp_path / "runs" / "7.npz", tmp_path / "best.npz", tmp_path / "again.npz"
    fn.save(real, ONE)
    link.symlink_to("runs/7.npz")
    second.symlink_to(link)
    fn.save(second, TWO)
    assert (link.is_symlink(), second.is_symlink(), real.is_symlink()) == (True, True, False)
    assert fn.load(real)["w"].tolist() == [2, 2, 2]
    assert sorted(os.listdir(tmp_path)) == ["again.npz", "best.npz", "runs"]
    assert os.listdir(tmp_path / "runs") == ["7.npz"]


def test_a_link_to_nothing_gets_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    fn.save(tmp_path / "link", ONE)
    assert (tmp_path / "link").is_symlink()
    assert fn.load(tmp_path / "file")["w"] == 1


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o777])
def test_the_mode_stays(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "model.npz"
    fn.save(path, ONE)
    path.chmod(mode)
    fn.save(path, TWO)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert fn.load(path)["w"].size == 3


def test_a_new_file_has_the_usual_mode_and_a_private_one_is_never_open(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    before = os.umask(0o027)
    try:
        write(path, b"1")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        with replaced(path) as file:
            assert stat.S_IMODE(os.stat(file.name).st_mode) == 0o600
    finally:
        os.umask(before)


def test_the_new_version_of_a_private_file_is_private_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, modes = tmp_path / "model.npz", []
    write(path, b"1")
    path.chmod(0o640)
    monkeypatch.setattr(files.os, "fchmod", lambda descriptor, mode: modes.append(os.fstat(descriptor).st_mode))
    write(path, b"2")
    assert [stat.S_IMODE(mode) for mode in modes] == [0o600]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may give files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    write(path, b"1")
    os.chown(path, 12345, 54321)
    write(path, b"2")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.npz"
    fn.save(path, ONE)
    path.chmod(0o444)
    monkeypatch.setattr(files.os, "access", lambda path, how: os.stat(path).st_mode & 0o200 > 0)  # also for root
    with pytest.raises(PermissionError, match=r"the file is read-only.*model\.npz'"):
        fn.save(path, TWO)
    assert fn.load(path)["w"].size == 1


def test_leftovers_of_killed_saves_go_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    mine = [tmp_path / f".model.npz.{i:016x}.tmp" for i in range(3)]
    token = "0123456789abcdef"
    names = (f".other.npz.{token}.tmp", ".model.npz.tmp", "model.npz.old", f".modelxnpz.{token}.tmp")
    others = [tmp_path / name for name in names]
    for file in (*mine, *others):
        file.write_bytes(b"half a checkpoint")
    fn.save(path, ONE)
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, *(file.name for file in others)])


def test_another_running_writer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    with replaced(path) as first:
        first.write(b"first")
        write(path, b"second")
        assert path.read_bytes() == b"second"
        assert os.path.exists(first.name)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == [path.name]


def test_a_temporary_file_that_was_taken_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, taken = files._lock, []

    def lose_the_first(file: Any, wait: bool) -> bool:
        if wait and not taken:
            taken.append(file.name)
            os.unlink(file.name)
        return lock(file, wait)

    monkeypatch.setattr(files, "_lock", lose_the_first)
    write(tmp_path / "model.npz", b"1")
    assert taken
    assert (tmp_path / "model.npz").read_bytes() == b"1"


def test_a_long_name_is_possible(tmp_path: Path) -> None:
    path = tmp_path / ("ж" * 127)  # 254 bytes, of 255 that a name may have
    fn.save(path, ONE)
    fn.save(path, TWO)
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(OSError, match="File name too long: 'x"):
        fn.save("x" * 300, ONE)


def test_a_missing_folder_is_named_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "no" / "folder" / "model.npz"
    with pytest.raises(FileNotFoundError) as caught:
        fn.save(path, ONE)
    assert str(caught.value) == (
        f"[Errno 2] there is no folder {str(path.parent)!r}; create it first: {str(path)!r}"
    )  # fmt: skip
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(path))
    with pytest.raises(FileNotFoundError, match=r"there is no such file; check the path: '.*/no/folder/model\.npz'"):
        fn.load(path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"'.*/file/model\.npz'$"):
        fn.save(tmp_path / "file" / "model.npz", ONE)


FULL = """
import resource, sys, os
import numpy as np, funcnn as fn
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    fn.save(sys.argv[1], {"w": np.zeros(1_000_000)})
except OSError as error:
    print(type(error).__name__, error.filename, error)
print(os.listdir(os.path.dirname(sys.argv[1])))
"""


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    fn.save(path, ONE)
    command, root = [sys.executable, "-c", FULL, str(path)], Path(fn.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.splitlines() == [f"OSError {path} [Errno 27] File too large: '{path}'", "['model.npz']"]
    assert not done.stderr
    assert fn.load(path)["w"] == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("culprit", ["fsync", "replace", "listdir", "open"])
def test_every_error_names_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, culprit: str
) -> None:
    path = tmp_path / "model.npz"
    fn.save(path, ONE)

    def fail(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number), f"{tmp_path}/.x.tmp")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, culprit, fail)
        if culprit == "listdir":  # only the search for leftovers
            fn.save(path, TWO)
        else:
            with pytest.raises(OSError, match=rf"^\[Errno {number}\] {os.strerror(number)}: '{re.escape(str(path))}'$"):
                fn.save(path, TWO)
    assert os.listdir(tmp_path) == ["model.npz"]
    assert fn.load(path)["w"].size == (3 if culprit == "listdir" else 1)


def test_file_and_folder_are_written_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, sync = [], os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    fn.save(tmp_path / "model.npz", ONE)
    assert synced == [False, True]


def test_a_folder_that_cannot_be_synced_or_listed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    fn.save(tmp_path / "model.npz", ONE)
    assert fn.load(tmp_path / "model.npz")["w"] == 1


def no_files(folder: Path) -> list[Path]:
    """Things under a name that are not files, and could block, end never or be destroyed."""
    os.mkfifo(folder / "pipe")
    (folder / "link to pipe").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
    return [folder / "pipe", folder / "link to pipe", folder / "socket", Path("/dev/null"), Path("/dev/zero")]


def test_pipes_devices_and_folders_raise_at_once(tmp_path: Path) -> None:
    for path in no_files(tmp_path):
        before = os.stat(path).st_mode
        for call in (fn.load, fn.load_model, lambda path: fn.save(path, ONE)):
            with pytest.raises((ValueError, OSError), match=rf"{path}"):
                call(path)
        assert os.stat(path).st_mode == before
    with pytest.raises(ValueError, match=r"pipe is a named pipe, expected a regular file"):
        fn.load(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"/dev/zero is a character device, expected a regular file"):
        fn.load("/dev/zero")
    for call in (fn.load, fn.load_model, lambda path: fn.save(path, ONE)):
        with pytest.raises(IsADirectoryError, match=rf"this is a folder, expected a file: '{tmp_path}'"):
            call(tmp_path)


def test_a_link_to_itself_raises(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for call in (fn.load, lambda path: fn.save(path, ONE)):
        with pytest.raises(OSError, match=r"Too many levels of symbolic links: '.*/loop'"):
            call(tmp_path / "loop")
    assert (tmp_path / "loop").is_symlink()


def test_nothing_stays_open(tmp_path: Path) -> None:
    count = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    fn.save(tmp_path / "model.npz", ONE)
    for call in (lambda: fn.load(tmp_path), lambda: fn.load("/dev/null"), lambda: fn.save(tmp_path, ONE)):
        with pytest.raises((ValueError, OSError)):
            call()
    with opened(tmp_path / "model.npz") as file:
        assert file.read(2) == b"PK"
    assert count == (len(os.listdir("/proc/self/fd")) if count else None)


def test_killed_saves_and_several_writers() -> None:
    """A short version; ``python -m tests.interchange.kills 500`` is the long one."""
    killed, several = map(eval, kills.in_a_process_of_its_own("25").splitlines())
    assert killed["kills"] == 25
    assert killed["leftovers"] > 0, "no kill hit a save, so nothing was tested"
    assert several["reads"] > 3
    assert several["versions"] > 3


def test_an_error_while_appending_leaves_the_file_as_it_was_and_names_it(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(b"a\n1\n")

    def add(error: BaseException) -> None:
        with appended(log) as file:
            file.write(b"2,")
            file.flush()
            raise error

    for error in (OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            add(error)
        assert log.read_bytes() == b"a\n1\n"
        if isinstance(error, OSError):
            assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(log))
    with appended(log) as file:
        file.write(b"2\n")
    assert log.read_bytes() == b"a\n1\n2\n"
