"""Memory and wake-ups of processes, as the kernel tells them. Used by the budget tests and by bench/."""

from pathlib import Path


def memory(*pids):
    """RSS, PSS and private dirty in kB, each summed over the processes."""
    sums = {"Rss": 0, "Pss": 0, "Private_Dirty": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in sums:
                sums[name] += int(value.split()[0])
    return sums["Rss"], sums["Pss"], sums["Private_Dirty"]


def switches(pid):
    """How often the process went to sleep by itself: each wake-up is one."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    raise AssertionError("the kernel does not count context switches")
