"""What is measured: kinds of load, who plays them, and what the numbers of one run mean."""
import collections
import functools

import load

DOWNLOADERS = 8
EACH = 'binary', 'json', 'raw', 'wisp'  # the ways to say the same; peers know one each
PERCENT = (50, 99)

# Of one run: seconds and CPU seconds of the server while it was measured, bytes and round trips done then, the sorted
# times of the round trips, how busy our own busiest process was, 0 to 1, and for each client that does nothing: the
# kilobytes that the server has grown by, and the kernel for it.
Run = collections.namedtuple('Run', 'seconds cpu size count times busy kilobytes kernel')
Run.__new__.__defaults__ = (0, 0)

# Unit and direction of each figure; the first of a mode is the one that charts and tables show first.
Figure = collections.namedtuple('Figure', 'unit more_is_better of')

# `players(wires, options)` gives a list of (load, number of clients) for each process.
Mode = collections.namedtuple('Mode', 'name forms clients players figures')


def microseconds(percent):
    def of(run):
        return run.times[min(len(run.times) - 1, len(run.times) * percent // 100)] * 1e6
    return of


RATE = Figure('MB/s', True, lambda run: run.size / 1e6 / run.seconds)
CPU_OF_SIZE = Figure('CPU s/GB', False, lambda run: run.cpu / (run.size / 1e9))
PER_SECOND = Figure('/s', True, lambda run: run.count / run.seconds)
CPU_OF_EACH = Figure('CPU µs each', False, lambda run: run.cpu / run.count * 1e6)
P50, P99 = (Figure('p%d µs' % percent, False, microseconds(percent)) for percent in PERCENT)
MEMORY = Figure('KB each', False, lambda run: run.kilobytes)
KERNEL = Figure('KB of the kernel each', False, lambda run: run.kernel)

TRANSFER = (CPU_OF_SIZE, RATE)
TRIPS = (CPU_OF_EACH, PER_SECOND, P50, P99)


def shared_out(play, clients, processes):
    """As evenly as it goes; nobody plays no client."""
    shares = [clients // processes + (number < clients % processes) for number in range(processes)]
    return [(play, share) for share in shares if share]


def one_and_downloads(clients, processes):
    return [(load.round_trips, 1), (load.download, clients)]


def spread(play):
    return functools.partial(shared_out, play)


MODES = (
    Mode('download', EACH, 1, spread(load.download), TRANSFER),
    Mode('download', ('mixed',), 4, spread(load.download), TRANSFER),
    Mode('upload', EACH, 1, spread(load.upload), TRANSFER),
    Mode('upload', ('mixed',), 4, spread(load.upload), TRANSFER),
    Mode('round-trip', EACH + ('mixed',), 100, spread(load.round_trips), TRIPS),
    Mode('round-trip', EACH, 1, spread(load.round_trips), TRIPS),
    Mode('streams', ('wisp',), 100, spread(load.stream_round_trips), TRIPS),
    Mode('open', EACH, 64, spread(load.open_and_close), TRIPS),
    Mode('idle', EACH, 1000, spread(load.idle), (MEMORY, KERNEL)),
    Mode('latency', EACH, DOWNLOADERS, one_and_downloads, (P50, P99, RATE)),
)
NAMES = tuple(collections.OrderedDict.fromkeys(mode.name for mode in MODES))
FORMS = EACH + ('mixed',)
