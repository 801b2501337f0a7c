"""CPU time and memory of a process and all its descendants, seen from outside."""
import os
import re
import subprocess

PROC = os.path.isdir('/proc/self/task')
TICKS = os.sysconf('SC_CLK_TCK')
CLOCK = re.compile(r'(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)$')


def processes():
    """{pid: (parent, CPU seconds)}; on Linux with those of children that have ended and were waited for."""
    return dict(proc_processes() if PROC else ps_processes())


def proc_processes():
    for name in os.listdir('/proc'):
        if name.isdigit():
            fields = proc_stat(name)
            if fields:
                yield int(name), (int(fields[1]), sum(int(field) for field in fields[11:15]) / TICKS)


def proc_stat(pid):
    try:
        with open('/proc/%s/stat' % pid) as file:
            return file.read().rpartition(')')[2].split()
    except OSError:
        return None  # it has just ended


def ps_processes():
    for line in ps('pid=,ppid=,time='):
        pid, parent, clock = line.split()
        yield int(pid), (int(parent), clock_seconds(clock))


def ps(columns):
    return subprocess.check_output(['ps', '-ax', '-o', columns], universal_newlines=True).splitlines()


def clock_seconds(text):
    days, hours, minutes, seconds = (float(part or 0) for part in CLOCK.match(text).groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def tree(pid, found):
    """The process and its descendants."""
    pids, fresh = set(), {pid} & set(found)
    while fresh:
        pids |= fresh
        fresh = {child for child, (parent, _) in found.items() if parent in fresh} - pids
    return pids


def cpu_seconds(pid, found):
    """Of the process and its descendants, of what ``processes()`` has found."""
    return sum(found[one][1] for one in tree(pid, found))


def resident_kilobytes(pid):
    pids = tree(pid, processes())
    if PROC:
        return sum(proc_kilobytes(one) for one in pids)
    sizes = dict(map(int, line.split()) for line in ps('pid=,rss='))
    return sum(sizes.get(one, 0) for one in pids)


def proc_kilobytes(pid):
    """A page that processes share counts once, in parts: a server that forks is not charged for its program twice."""
    try:
        with open('/proc/%d/smaps_rollup' % pid) as file:
            return int(re.search(r'^Pss:\s+(\d+)', file.read(), re.M).group(1))
    except (OSError, AttributeError):
        return rss_kilobytes(pid)


def rss_kilobytes(pid):
    fields = proc_stat(pid)
    return int(fields[21]) * os.sysconf('SC_PAGE_SIZE') // 1024 if fields else 0


def kernel_kilobytes():
    """What the kernel holds for all processes (slab), sockets and files among it; 0 where it does not tell."""
    if not PROC:
        return 0
    with open('/proc/meminfo') as file:
        return int(re.search(r'^Slab: *([0-9]+) kB$', file.read(), re.MULTILINE).group(1))
