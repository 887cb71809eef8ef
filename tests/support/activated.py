"""A gateway that is started as systemd starts a service with its sockets."""

import subprocess
import sys

from gateway import BINARY, WRAPPER, Gateway, Output

# Puts the descriptors that it was given to 3 and above, and says so as systemd does.
PASS = """
import fcntl, os, sys
fds, names, pid, command = [int(n) for n in sys.argv[1].split(",") if n], sys.argv[2], sys.argv[3], sys.argv[4:]
for number, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds], 3):
    os.dup2(fd, number, inheritable=True)
    os.close(fd)
if pid != "-":
    os.environ["LISTEN_PID"] = pid or str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(fds))
    if names:
        os.environ["LISTEN_FDNAMES"] = names
os.execv(command[0], command)
"""


class Activated(Gateway):
    """A gateway that is given sockets at its start."""

    def pass_sockets(self, sockets, names="", pid=""):
        self.sockets, self.names, self.given_pid = sockets, names, pid
        return self

    def start(self, wait=True):
        fds = [s.fileno() for s in self.sockets]
        command = [*WRAPPER, str(BINARY)]
        if WRAPPER:
            command[0] = subprocess.run(["which", WRAPPER[0]], capture_output=True, text=True).stdout.strip()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PASS, ",".join(map(str, fds)), self.names, self.given_pid, *command],
            cwd=self.directory, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, bufsize=0, pass_fds=fds)
        self.out, self.err = Output(self.process.stdout), Output(self.process.stderr)
        if wait:
            self.wait_banner()
        return self
