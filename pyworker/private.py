"""A directory that only this user can enter, and files in it. What they hold decides what is executed, so nothing is taken
from a place that somebody else could have written to."""

import os
from stat import S_ISDIR, S_ISREG

LARGEST = 64 << 20  # bytes of a file that is read


def open_directory(path):
    """Whether `path` is such a directory now; it is made if there is none."""
    try:
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.mkdir(path, 0o700)
        status = os.lstat(path)
    except OSError:
        return False
    return S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def read(path):
    """The bytes of a file in such a directory; None if there is none, or it is not this user's own."""
    if not os.path.lexists(path) or not open_directory(os.path.dirname(path)):
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022 or status.st_size > LARGEST:
            return None
        data = os.read(fd, status.st_size + 1)
        return data if len(data) == status.st_size else None
    except OSError:
        return None
    finally:
        os.close(fd)


def write(path, data):
    """Put a whole file there, in the place of another; whether that went well."""
    if not open_directory(os.path.dirname(path)):
        return False
    fresh = "%s.%d" % (path, os.getpid())
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        whole = os.write(fd, data) == len(data)
        if whole:
            os.rename(fresh, path)
        else:
            os.unlink(fresh)
        return whole
    except OSError:
        return False
    finally:
        os.close(fd)
