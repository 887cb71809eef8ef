"""refused.py PROGRAM ...: runs a program for which memfd_create fails, as a filter of system calls in a unit or a container has it."""

import ctypes
import errno
import os
import platform
import struct
import sys

NUMBERS = {"x86_64": 319, "aarch64": 279, "i686": 356, "armv7l": 385}
NO_NEW_PRIVS, SECCOMP, FILTER = 38, 22, 2  # of prctl
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
REFUSE, ALLOW = 0x00050000 | errno.EPERM, 0x7fff0000


def refuse(number):
    steps = [(LOAD, 0, 0, 0), (IF_EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER, program):
        sys.exit("no filter: " + os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    refuse(NUMBERS[platform.machine()])
    os.execvp(sys.argv[1], sys.argv[1:])
