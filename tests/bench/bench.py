#!/usr/bin/env python3
"""Measures ws2s from outside, alone or beside its peers.

    python3 tests/bench/bench.py [--python PYTHON] [--only MODE...] [--compare] [--json] [--table] [--plot FILE.svg]

Needs Python 3.8 or newer and nothing else; the gateway under test may run on any Python (--python, more than once to
compare some). The clients, the target and the gateway are processes of their own on the loopback interface. The
gateway's CPU time and memory are read from outside. Each run starts a fresh gateway and checks it byte by byte before
the clock runs; whoever is compared takes turns. Figures are medians of the rounds, ratios are medians of the ratios
within a round.
"""
import argparse
import os
import signal
import sys

if sys.version_info < (3, 8):
    sys.exit('bench.py needs Python 3.8 or newer; the gateway may be older, see --python')

MOST_SECONDS = 300
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import environments  # noqa: E402 - found only by the path above
import modes  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
import run  # noqa: E402
import servers  # noqa: E402


def parse_arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--python', metavar='PYTHON', action='append', help='what the gateway runs on: version, name or path (python3)')
    add('--gateway', metavar='FILE', action='append', default=[], help='another ws2s.py, in turns with the one here')
    add('--compare', action='store_true', help='the peers, too, as far as `make bench-peers` has installed them')
    add('--peers', nargs='+', metavar='PEER', choices=list(servers.PEERS), help='only these: %(choices)s')
    add('--only', nargs='+', metavar='MODE', choices=modes.NAMES, default=modes.NAMES, help='only these: %(choices)s')
    add('--forms', nargs='+', metavar='FORM', choices=modes.FORMS, default=modes.FORMS, help='only these: %(choices)s')
    add('--clients', type=positive, nargs='+', metavar='N', help='instead of the usual numbers of each mode')
    add('--seconds', type=seconds, default=2, metavar='S', help='of each run (%(default)s)')
    add('--rounds', type=positive, metavar='N', help='runs of each server in each mode (2, with others 3)')
    add('--processes', type=positive, default=run.default_processes(), metavar='N',
        help='that play the clients (%(default)s)')
    add('--json', action='store_true', help='one JSON object a line')
    add('--table', action='store_true', help='print a Markdown table, too')
    add('--plot', metavar='FILE', help='write an SVG picture')
    add('--from', nargs='+', metavar='FILE', dest='files', help='measure nothing; take what --json has printed before')
    return parser.parse_args(argv)


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def seconds(text):
    number = float(text)
    if not 0 < number <= MOST_SECONDS:
        raise argparse.ArgumentTypeError('not between 0 and %d' % MOST_SECONDS)
    return number


# --- Who and what ---------------------------------------------------------------------------------

def gateways(options):
    """The gateway here on each Python, then the others on the first of them."""
    interpreters = [environments.required(wanted) for wanted in options.python or ['python3']]
    found = [servers.gateway(one, name=gateway_name(one, interpreters)) for one in interpreters]
    return found + [servers.gateway(interpreters[0], os.path.abspath(path), path) for path in options.gateway]


def gateway_name(interpreter, interpreters):
    return report.OURS if len(interpreters) == 1 else '%s on %s' % (report.OURS, environments.short(interpreter))


def peers(options):
    """(those that are there, the names of those that are not)"""
    found = {name: servers.PEERS[name]() for name in options.peers or (servers.PEERS if options.compare else ())}
    return [one for one in found.values() if one], [name for name in found if not found[name]]


def plan(options, contestants):
    """(mode, form, clients, who takes part) for each thing to be measured."""
    for mode in modes.MODES:
        for form in mode.forms:
            able = [one for one in contestants if run.speaks(one, form)]
            if mode.name in options.only and form in options.forms and able:
                for clients in numbers_of_clients(mode, form, options):
                    yield mode, form, clients, able


def numbers_of_clients(mode, form, options):
    """Those of the command line stand for all usual ones of a mode and form."""
    if not options.clients:
        return [mode.clients]
    first = next(other for other in modes.MODES if other.name == mode.name and form in other.forms)
    return options.clients if mode is first else []


# --- Measuring ------------------------------------------------------------------------------------

def results(options, contestants):
    """A report.Result for each server and each thing measured, when its rounds are done."""
    for mode, form, clients, able in plan(options, contestants):
        made = [report.Result(mode, form, clients_of(one, mode, clients), one.name, one.about) for one in able]
        for number in range(options.rounds):
            for server, result in zip(able, made):
                progress('%s %s, %d clients: %s, round %d' % (mode.name, form, result.clients, server.name, number + 1))
                add_round(server, result, options)
        progress('')
        yield made


def clients_of(server, mode, clients):
    return min(clients, server.most_idle) if mode.name == 'idle' and server.most_idle else clients


def add_round(server, result, options):
    if result.failure:
        return
    try:
        result.add(run.measured(server, result.mode, result.form, result.clients, options))
    except servers.Failed as failure:
        result.failure = str(failure)


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write('\r\033[K' + text)
        sys.stderr.flush()


def end_politely(number, frame):
    sys.exit(128 + number)


def measure(options, printer):
    run.raise_descriptor_limit()
    for number in (signal.SIGTERM, signal.SIGINT):  # which shells have background jobs ignore
        signal.signal(number, end_politely)
    present, missing = peers(options)
    contestants = gateways(options) + present
    options.rounds = options.rounds or (3 if len(contestants) > 1 else 2)
    printer.machine(report.machine())
    for name in missing:
        printer.missing(name)
    for made in results(options, contestants):
        printer.results([result.as_dict() for result in made], report.ratios(made))


def main(argv=None):
    options = parse_arguments(argv)
    printer = report.JsonPrinter() if options.json else report.LinePrinter()
    try:
        if options.files:
            report.replay(options.files, printer)
        else:
            measure(options, printer)
    except environments.Problem as problem:
        sys.exit('bench: %s' % problem)
    if options.table:
        print(report.table(printer.seen))
    if options.plot:
        with open(options.plot, 'w') as file:
            file.write(plot.picture(printer.seen))
    return int(printer.has_failures)


if __name__ == '__main__':
    sys.exit(main())
