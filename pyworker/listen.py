"""A listening socket of our own, for people who run a worker by hand or behind another web server."""

import os
import socket
import stat

BACKLOG = 128


def parse(where):
    """HOST:PORT, [v6]:PORT or unix:PATH as (family, address)."""
    if where.startswith("unix:"):
        return socket.AF_UNIX, where[len("unix:") :]
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:  # without a host it would be every address
        raise ValueError("neither HOST:PORT nor unix:PATH")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))


def remove_stale(path):
    """Remove a socket that nobody listens on; anything else at the path is left for bind() to refuse."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def open_listener(where):
    """Return the descriptor of a new listening socket; ValueError or OSError say what is wrong."""
    family, address = parse(where)
    if family == socket.AF_UNIX:
        remove_stale(address)
    with socket.socket(family) as listener:
        if family != socket.AF_UNIX:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        return listener.detach()
