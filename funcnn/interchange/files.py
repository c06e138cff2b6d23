"""A file is read only if it is a regular file, and written under another name until it is complete.

A reader finds the old content or the new one, never a part of each. What a killed writer left behind is removed by the
next one that writes the same file.
"""

import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from funcnn.signals import reraise_if_of_a_handler

if sys.platform != "win32":
    import fcntl

__all__ = ["appended", "blamed_on", "check_folder", "check_replaceable", "opened", "replaced"]

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}
# A file system that cannot write a folder to the disk at once raises one of these.
CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM}


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading, without waiting for the other end of a pipe."""
    # Only Windows has O_BINARY, and it does not have O_NONBLOCK.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "there is no such file; check the path", str(path)) from None
    try:
        _check_regular(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        yield file


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name, in place of an older one, when the block has ended.

    A link stays and the file that it points to is replaced. The new file has the mode and, where that is allowed, the
    owner of the old one. An error in the block, or at the end, leaves the old file as it was.
    """
    try:
        target = Path(os.path.realpath(path))
        old = _status(path)
        _remove_leftovers(target)
        with _temporary(target, old) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())  # otherwise a power cut could leave the new name on an empty file
                if sys.platform == "win32":
                    file.close()  # there, an open file cannot be renamed
                os.replace(file.name, target)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(file.name)
        _sync_folder(target.parent)
    except OSError as error:
        raise _of(path, error) from None


def check_replaceable(path: Path) -> None:
    """Raise what ``replaced`` would raise about a path, before hours of work are lost."""
    try:
        _status(path)
        folder = os.path.dirname(os.path.realpath(path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"the folder {folder!r} is read-only")
    except OSError as error:
        raise _of(path, error) from None


def check_folder(path: Path) -> None:
    """Raise if a path is not a folder or is read-only or, where it does not exist yet, cannot be created."""
    found = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.lexists(folder))
    if not found.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "there is a file of this name, expected a folder", str(found))
    if not os.access(found, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "the folder is read-only", str(found))


@contextmanager
def appended(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing at its end. An error leaves it as it was, and names it."""
    size = os.path.getsize(path)
    try:
        with open(path, "ab") as file:
            yield file
    except BaseException as error:
        with suppress(OSError):
            os.truncate(path, size)
        if isinstance(error, OSError):
            raise _of(path, error) from None
        raise


def _of(path: Path, error: OSError) -> OSError:
    """An error of a temporary file, or of no file, as one of the file that the user named; it has the same type."""
    if error.errno is None:
        return OSError(f"{path}: {error}")
    text, folder = error.strerror, os.path.dirname(os.path.realpath(path))
    if error.errno == errno.ENOENT and not os.path.isdir(folder):
        text = f"there is no folder {folder!r}; create it first"
    return OSError(error.errno, text, str(path))


def _check_regular(path: Path, status: os.stat_result) -> None:
    """Raise if this is a folder, a pipe, a device or a socket."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "this is a folder, expected a file", str(path))
    if not stat.S_ISREG(status.st_mode):
        what = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise ValueError(f"{path} is {what}, expected a regular file")


def _status(path: Path) -> os.stat_result | None:
    """The mode and owner of the file that is to be replaced; None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    _check_regular(path, status)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only; choose another name or change its mode", str(path))
    return status


# The name of a temporary file says whose it is. The writer holds a lock on it, which ends with the process: a file
# without a lock has lost its writer.


def _prefix(target: Path) -> str:
    """The start of the names of temporary files; cut, since a name may be 255 bytes long and no longer."""
    return f".{target.name[:50]}."


@contextmanager
def _temporary(target: Path, old: os.stat_result | None) -> Iterator[BinaryIO]:
    """A new locked file in the same folder, since a rename is atomic only inside one file system."""
    while True:
        name = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.tmp")
        opener = partial(os.open, mode=0o666 if old is None else 0o600)
        with open(name, "xb", opener=opener) as file:
            _lock(file, wait=True)
            if not name.exists():
                continue  # another writer took it for a leftover before it was locked
            if old is not None and sys.platform != "win32":
                with suppress(PermissionError):  # only the owner of a file, or root, may give it away
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            yield file
            return


def _remove_leftovers(target: Path) -> None:
    """Remove the temporary files of killed writers of this file."""
    pattern = re.compile(re.escape(_prefix(target)) + r"[0-9a-f]{16}\.tmp")
    try:
        names = [name for name in os.listdir(target.parent) if pattern.fullmatch(name)]
    except OSError:
        return  # a folder that cannot be listed may still be written to
    for name in names:
        with suppress(OSError), open(target.with_name(name), "r+b") as file:
            if _lock(file, wait=False):
                os.unlink(file.name)


def _lock(file: BinaryIO, wait: bool) -> bool:
    """Lock a file until it is closed; False if it is locked already, or cannot be."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Write the new name to the disk, where a folder can be opened."""
    if hasattr(os, "O_DIRECTORY"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in CANNOT_SYNC:
                raise


@contextmanager
def blamed_on(path: Path, what: str) -> Iterator[None]:
    """Turn errors of reading a file into a ValueError that names the file; a MemoryError stays one.

    Args:
        path: the file.
        what: what it is then, "damaged or not a checkpoint".
    """
    try:
        yield
    except Exception as error:  # a damaged file raises one of a dozen types, some without a message
        reraise_if_of_a_handler(error)
        if isinstance(error, MemoryError):
            raise MemoryError(f"{path}: there is not enough memory for the arrays of this file") from None
        raise ValueError(f"{path} is {what}: {str(error) or type(error).__name__}") from error
