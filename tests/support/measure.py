"""Memory and wake-ups of processes, as the kernel tells them. Used by tests and by bench/."""

from pathlib import Path


def rollup(pid):
    """What all mappings of a process come to: {field: kB}, as Private_Dirty."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        next(file)  # the addresses
        return {line.partition(":")[0]: int(line.split()[1]) for line in file}


def memory(*pids):
    """RSS, PSS and private dirty in kB, each summed over the processes."""
    found = [rollup(pid) for pid in pids]
    return tuple(sum(fields[name] for fields in found) for name in ("Rss", "Pss", "Private_Dirty"))


def switches(pid):
    """How often a process ("PID/task/TID": a thread) went to sleep by itself: each wake-up is one."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    raise AssertionError("the kernel does not count context switches")
