"""Results: what is kept of the rounds, how they are compared, and how they are printed."""
import json
import os
import platform
import re
import statistics
import subprocess

OURS = 'ws2s'
BUSY = 0.9  # of a core
NAMES_OF_FORMS = {'json': 'JSON', 'wisp': 'Wisp'}


class Result(object):
    """The rounds of one server in one mode."""

    def __init__(self, mode, form, clients, server, about):
        self.mode, self.form, self.clients, self.server, self.about = mode, form, clients, server, about
        self.rounds, self.busy, self.failure = [], [], None

    def add(self, run):
        self.rounds.append({figure.unit: figure.of(run) for figure in self.mode.figures})
        self.busy.append(run.busy)

    def as_dict(self):
        fields = {'mode': self.mode.name, 'form': self.form, 'clients': self.clients, 'server': self.server,
                  'about': self.about}
        if self.failure:
            return dict(fields, failure=self.failure)
        return dict(fields, rounds=self.rounds, busy=statistics.median(self.busy), figures={
            figure.unit: statistics.median(one[figure.unit] for one in self.rounds) for figure in self.mode.figures})


def ratios(made):
    """How one stands to another: medians of (one / other) of each round."""
    return [{'mode': one.mode.name, 'form': one.form, 'clients': one.clients, 'server': one.server,
             'against': other.server, 'ratios': ratios_of(one, other)}
            for one, other in pairs(made) if not (one.failure or other.failure)]


def pairs(made):
    """The first with all others, and each further ws2s with those that are not."""
    for one in made:
        for other in made:
            if one is made[0] is not other or is_ours(one.server) and not is_ours(other.server):
                yield one, other


def ratios_of(ours, theirs):
    return {figure.unit: statistics.median(one[figure.unit] / other[figure.unit]
                                           for one, other in zip(ours.rounds, theirs.rounds) if other[figure.unit])
            for figure in ours.mode.figures if any(other[figure.unit] for other in theirs.rounds)}


def is_ours(server):
    return server == OURS or server.startswith(OURS + ' on ')


# --- The machine ----------------------------------------------------------------------------------

def machine():
    return {'processor': processor(), 'cores': os.cpu_count(), 'system': '%s %s' % (
        platform.system(), platform.release().partition('-')[0]), 'load before': round(os.getloadavg()[0], 2)}


def processor():
    try:
        with open('/proc/cpuinfo') as file:
            return re.search(r'^model name\s*: (.*)$', file.read(), re.M).group(1)
    except (OSError, AttributeError):
        return sysctl_processor() or platform.processor() or platform.machine()


def sysctl_processor():
    try:
        return subprocess.check_output(['sysctl', '-n', 'machdep.cpu.brand_string'], universal_newlines=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def machine_line(found):
    return '%(processor)s, %(cores)s cores, %(system)s, load before %(load before)s' % found


# --- Printing -------------------------------------------------------------------------------------

class Printer(object):
    """Keeps what it prints, for table and plot. ``seen`` are dicts, as --json prints them."""

    def __init__(self):
        self.seen = []

    @property
    def has_failures(self):
        return any('failure' in one for one in self.seen)

    def machine(self, found):
        self.add({'machine': found})

    def missing(self, name):
        self.add({'server': name, 'missing': 'not installed, see `make bench-peers`'})

    def results(self, results, ratios):
        for one in results + ratios:
            self.add(one)

    def add(self, one):
        self.seen.append(one)
        print(self.text(one), flush=True)


class JsonPrinter(Printer):
    @staticmethod
    def text(one):
        return json.dumps(one)


class LinePrinter(Printer):
    @staticmethod
    def text(one):
        if 'machine' in one:
            return machine_line(one['machine'])
        if 'missing' in one:
            return '%s: %s' % (one['server'], one['missing'])
        head = '%-10s %-6s %4d clients  ' % (one['mode'], one['form'], one['clients'])
        if 'failure' in one:
            return head + '%-12s FAILED: %s' % (one['server'], one['failure'])
        if 'ratios' in one:
            return head + '%s / %s: %s' % (one['server'], one['against'], figures_text(one['ratios'], 'x'))
        return head + '%-12s %s' % (one['server'], figures_text(one['figures'])) + busy_text(one['busy'])


def busy_text(busy):
    """A rate that our own clients or target may have held down says so; CPU figures are not touched by that."""
    return '   (bench %.0f %% busy)' % (100 * busy) if busy > BUSY else ''


def figures_text(figures, times=''):
    return '   '.join('%s%s %s' % (number(value), times, unit) for unit, value in figures.items())


def number(value):
    """About three digits that matter."""
    digits = next((digits for least, digits in ((100, 0), (10, 1), (0.1, 2)) if abs(value) >= least), 4)
    return '{:,.{}f}'.format(value, digits)


def replay(files, printer):
    for path in files:
        with open(path) as file:
            for line in file:
                printer.add(json.loads(line))


# --- The table ------------------------------------------------------------------------------------

# Header of each column, and where its two figures come from: (mode, clients or None for any, unit).
COLUMNS = (
    ('download: CPU s/GB (MB/s)', ('download', None, 'CPU s/GB'), ('download', None, 'MB/s')),
    ('upload: CPU s/GB (MB/s)', ('upload', None, 'CPU s/GB'), ('upload', None, 'MB/s')),
    ('round trip, 100 clients: CPU µs (per s)', ('round-trip', 100, 'CPU µs each'), ('round-trip', 100, '/s')),
    ('100 streams in 10 WebSockets: CPU µs (per s)', ('streams', None, 'CPU µs each'), ('streams', None, '/s')),
    ('1 client: CPU µs (p50 µs)', ('round-trip', 1, 'CPU µs each'), ('round-trip', 1, 'p50 µs')),
    ('open, echo, close: CPU µs (per s)', ('open', None, 'CPU µs each'), ('open', None, '/s')),
    ('idle client: KB', ('idle', None, 'KB each'), None),
    ('round trip beside 8 downloads: p50 µs (p99)', ('latency', None, 'p50 µs'), ('latency', None, 'p99 µs')),
)


def table(seen):
    """Markdown: a row for each server and form."""
    rows = [[row_name(server, form, about)] + [cell(seen, server, form, column[1:]) for column in COLUMNS]
            for server, form, about in contestants(seen)]
    lines = [[''] + [column[0] for column in COLUMNS], ['---'] * (1 + len(COLUMNS))] + rows
    machines = [machine_line(one['machine']) for one in seen if 'machine' in one]
    return '\n'.join(['| %s |' % ' | '.join(line) for line in lines] + [''] + machines[:1])


def contestants(seen):
    found = [(one['server'], one['form'], one['about']) for one in seen if 'about' in one]
    return sorted(set(found), key=found.index)


def row_name(server, form, about):
    return '%s, %s (%s)' % (server, NAMES_OF_FORMS.get(form, form), about)


def cell(seen, server, form, sources):
    values = [value_of(seen, server, form, source) for source in sources if source]
    if values[0] is None:
        return ''
    texts = [value if isinstance(value, str) else number(value) for value in values]
    return texts[0] if len(texts) == 1 or texts[0] == 'failed' else '%s (%s)' % tuple(texts)


def value_of(seen, server, form, source):
    """The last one: what was measured anew counts."""
    mode, clients, unit = source
    found = [one for one in seen if 'about' in one and (one['server'], one['form'], one['mode']) == (server, form, mode)
             and clients in (None, one['clients'])]
    if not found:
        return None
    return 'failed' if 'failure' in found[-1] else found[-1]['figures'][unit]
