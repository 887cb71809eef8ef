"""A directory that only this user can enter, and files in it. What they hold decides what is executed, so nothing is taken
from a place that somebody else could have written to, or could put another one in the place of."""

import os
from stat import S_ISDIR, S_ISLNK, S_ISREG, S_ISVTX

LARGEST = 64 << 20  # bytes of a file that is read
LINKS = 40  # on the way to a directory, as the kernel has it


def way(path):
    """(name, status) of every directory and link that lies on the way to an absolute path, the last one included."""
    at, rest, links = "/", path.split("/")[::-1], 0
    yield at, os.lstat(at)
    while rest:
        name = rest.pop()
        if name == "..":
            at = os.path.dirname(at)
        if name in ("", ".", ".."):
            continue
        where, at = at, os.path.join(at, name)
        status = os.lstat(at)
        yield at, status
        if S_ISLNK(status.st_mode):
            links += 1
            if links > LINKS:
                raise OSError("%s: too many links" % path)
            target = os.readlink(at)
            at = "/" if target.startswith("/") else where
            rest.extend(target.split("/")[::-1])


def make(path):
    """Make a directory for this user alone, and what lies above it, which others may enter."""
    missing = []
    above = os.path.dirname(path)
    while not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    for directory, mode in [(one, 0o755) for one in reversed(missing)] + [(path, 0o700)]:
        try:
            os.mkdir(directory, mode)
        except FileExistsError:
            pass  # another worker was faster


def trouble(path):
    """What keeps a directory from being such a one, as a text; "" if it is. It is made if there is none."""
    path = os.path.abspath(path)
    try:
        if not os.path.lexists(path):
            make(path)
        status = os.lstat(path)
        if not S_ISDIR(status.st_mode):
            return "%s is no directory" % path
        if status.st_uid != os.geteuid():
            return "%s belongs to another user" % path
        if status.st_mode & 0o022:
            return "others may write to %s: chmod 700 it" % path
        if status.st_mode & 0o055:  # as importlib makes it anew when it is removed under a worker
            os.chmod(path, 0o700)
        for name, status in way(os.path.dirname(path)):
            if status.st_uid not in (0, os.geteuid()):
                return "%s, above %s, belongs to another user" % (name, path)
            if status.st_mode & 0o022 and not status.st_mode & S_ISVTX and not S_ISLNK(status.st_mode):
                return "others may rename what is in %s, above %s: chmod go-w it" % (name, path)
    except OSError as error:
        return "%s: %s" % (error.filename or path, error.strerror or error)
    return ""


def read(path):
    """The bytes of a file in such a directory; None if there is none, or it is not this user's own."""
    if not os.path.lexists(path) or trouble(os.path.dirname(path)):
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
    if trouble(os.path.dirname(path)):
        return False
    fresh = "%s.%d" % (path, os.getpid())
    try:
        if os.path.lexists(fresh):
            os.unlink(fresh)  # of a worker that had the same number, and was killed
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        if os.write(fd, data) == len(data):
            os.rename(fresh, path)
            return True
    except OSError:
        pass
    finally:
        os.close(fd)
    try:
        os.unlink(fresh)  # the disk is full, or `path` is a directory
    except OSError:
        pass
    return False
