"""One run: a fresh target, a fresh server, clients in processes of their own, and the clock."""
import contextlib
import math
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import socket
import time

import load
import modes
import servers
import targets
import usage
from board import DONE, ENDED, MEASURING, RECEIVED, SENT, STOPPING, WARMING, WRONG, Board
from servers import Failed
from wires import Broken

FORK = multiprocessing.get_context('fork')
READY_SECONDS = 60     # for all clients of a load to be open
CHECK_SECONDS = 60
WARM_SHARE = 0.5       # of the measured time, before it: some servers compile what is used often
SETTLE_SECONDS = 15    # for what is under way at the end
SPARE_SHARE = 0.25     # of the idle clients, besides
STILL_SECONDS = 0.4    # memory has settled when it has not grown for so long
DOOR, BULK = 0, 1      # writers of the board; the clients follow
REPORTS = 2            # of each process of clients: all is open; it is over


class Player(object):
    """A process of clients, and what it reports."""

    def __init__(self, play, wires, port, board, writer):
        self._heard, self._to_come = [], REPORTS
        self.pipe, theirs = FORK.Pipe()
        self.process = forked(perform, theirs, play, wires, port, board, writer)
        theirs.close()

    def report(self, seconds):
        """The next thing it says; Failed when that is a failure, or nothing comes."""
        if not self._heard and not self.listen(seconds):
            raise Failed('the clients are not done after %d s' % seconds)
        return self._heard.pop(0)

    def listen(self, seconds):
        """Has it said something? Failed when that is a failure."""
        if not (self._to_come and self.pipe.poll(max(0, seconds))):
            return False
        try:
            failure, value = self.pipe.recv()
        except EOFError:
            raise Failed('a process of clients has died')
        if failure:
            raise Failed(failure)
        self._heard.append(value)
        self._to_come -= 1
        return True

    def end(self):
        self.pipe.close()
        end(self.process)


def forked(function, *arguments):
    process = FORK.Process(target=living, args=(function,) + arguments, daemon=True)
    process.start()
    return process


def living(function, *arguments):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.alarm(servers.ALL_LIVES_SECONDS)
    function(*arguments)


def end(process):
    process.kill()
    process.join()
    process.close()


def perform(pipe, play, wires, port, board, writer):
    """Two reports, pairs of a failure and a value: when all is open, and what the load returns."""
    try:
        acts = play(wires, port, board, writer)
        next(acts)
        pipe.send((None, None))
        next(acts)
    except StopIteration as stop:
        pipe.send((None, stop.value.tobytes() if stop.value else b''))
    except BlockingIOError:
        pipe.send(('no answer for %d s' % load.ANSWER_SECONDS, None))
    except (Broken, OSError) as error:
        pipe.send((str(error), None))


@contextlib.contextmanager
def target(board):
    """The port of a fresh target, and its processes."""
    listener = targets.listening()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    processes = [forked(targets.run_door, listener, near), forked(targets.run_bulk, far, board, BULK)]
    port = listener.getsockname()[1]
    for sock in (listener, near, far):
        sock.close()
    try:
        yield port, processes
    finally:
        for process in processes:
            end(process)


@contextlib.contextmanager
def playing(cast, wires, port, board):
    """Players with all their clients open, one for each (load, clients); the wires go around."""
    players, given = [], 0
    try:
        for writer, (play, clients) in enumerate(cast, BULK + 1):
            mine = [wires[number % len(wires)] for number in range(given, given + clients)]
            given += clients
            players.append(Player(play, mine, port, board, writer))
        for player in players:
            player.report(READY_SECONDS)
        yield players
    finally:
        board.phase = ENDED
        for player in players:
            player.end()


def wires_for(server, form, target_port):
    names = ('binary', 'json') if form == 'mixed' else (form,)
    return [server.wires[name](target_port) for name in names]


def speaks(server, form):
    return {'binary', 'json'} <= set(server.wires) if form == 'mixed' else form in server.wires


def measured(server, mode, form, clients, options):
    """The Run of one server in one mode."""
    cast = mode.players(clients, options.processes)
    board = Board(BULK + 1 + len(cast))
    with target(board) as (target_port, ours), servers.running(server, target_port) as running:
        wires = wires_for(server, form, target_port)
        if mode.name == 'idle':
            return idled(running, cast, wires, board)
        check(wires, running.port, board)
        with playing(cast, wires, running.port, board) as players:
            processes = ours + [player.process for player in players]
            return demand_figures(timed(running, players, board, options.seconds, processes), mode)


def demand_figures(run, mode):
    if modes.RATE in mode.figures and not run.size or modes.P50 in mode.figures and not run.times:
        raise Failed('nothing came through in %.1f s' % run.seconds)
    return run


def check(wires, port, board):
    with playing([(load.checking, len(wires))], wires, port, board) as (checker,):
        checker.report(CHECK_SECONDS)
    board.phase = WARMING


def idled(running, cast, wires, board):
    """What one more client costs: the first ones fill what the server has spare, and are not counted.

    The pass before is left out, for what a server keeps of megabytes would hide the clients; each has its echo compared
    in the beginning and in the end.
    """
    spare = [(play, math.ceil(clients * SPARE_SHARE)) for play, clients in cast]
    with playing(spare, wires, running.port, board) as few:
        before, kernel = settled(running.resident_kilobytes), usage.kernel_kilobytes()
        with playing(cast, wires, running.port, board) as many:
            kilobytes, kernel = settled(running.resident_kilobytes) - before, usage.kernel_kilobytes() - kernel
            board.phase = STOPPING
            finish(few + many)
    running.demand_alive()
    clients = sum(clients for _, clients in cast)
    # Of each connection, our own end is here, too, and takes as much.
    return modes.Run(0, 0, 0, clients, (), 0, kilobytes / clients, kernel / 2 / clients)


def settled(value):
    """What it is when it has not grown for a while."""
    last, since, deadline = value(), time.monotonic(), time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < min(since + STILL_SECONDS, deadline):
        time.sleep(0.05)
        now = value()
        if now > last:
            last, since = now, time.monotonic()
    return last


def timed(running, players, board, seconds, ours):
    watch(players, seconds * WARM_SHARE)
    board.phase = MEASURING
    start = sample(running, board, ours)
    watch(players, seconds)
    stop = sample(running, board, ours)
    board.phase = STOPPING
    wait_for_last_bytes(board, players)
    board.phase = ENDED
    times = finish(players)
    running.demand_alive()
    took, cpu, size, count, *work = (after - before for after, before in zip(stop, start))
    return modes.Run(took, cpu, size, count, times, max(work) / took)


def sample(running, board, ours):
    """The clock, CPU seconds of the server, what was done, and CPU seconds of each of our own."""
    found = usage.processes()
    return [time.monotonic(), usage.cpu_seconds(running.pid, found), board.total(RECEIVED), board.total(DONE)] + [
        usage.cpu_seconds(process.pid, found) for process in ours]


def watch(players, seconds):
    """Sleep, but not when a client has failed."""
    if multiprocessing.connection.wait([player.pipe for player in players], seconds):
        demand_success(players)
        raise Failed('a load has ended before its time')


def demand_success(players):
    for player in players:
        player.listen(0)


def wait_for_last_bytes(board, players):
    """Each byte that was sent must arrive, and no more."""
    deadline, last, agreed = time.monotonic() + SETTLE_SECONDS, None, 0
    while agreed < 3:
        time.sleep(0.03)
        demand_success(players)
        counts = board.total(SENT), board.total(RECEIVED)
        agreed = agreed + 1 if counts == last and counts[0] == counts[1] else 0
        last = counts
        if time.monotonic() > deadline:
            raise Failed('of %d bytes sent %d have arrived' % counts)
    if board.total(WRONG):
        raise Failed('the target was sent wrong bytes')


def finish(players):
    """The times of all round trips, sorted."""
    times = load.array.array('d')
    deadline = time.monotonic() + load.ANSWER_SECONDS + SETTLE_SECONDS
    for player in players:
        times.frombytes(player.report(deadline - time.monotonic()))
    return sorted(times)


def raise_descriptor_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def default_processes():
    return max(2, (os.cpu_count() or 2) // 2)
