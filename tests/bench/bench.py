"""Measures Weft against no mesh, a pair of Envoys and a bare splice proxy, in one interleaved run; see README.md."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile
import time

import peers
from envoy import envoy

PEERS = ("none", "weft", "weft_epoll", "envoy", "splice")
LOADS = [(place, mode, connections) for place in peers.PLACES
         for mode, sizes in (("bulk", (1, 8)), ("bulkrev", (1, 8)), ("rr", (1, 32)), ("crr", (1, 16)))
         for connections in sizes]
IDLE_CONNECTIONS = 1000
FIRST_CONNECTIONS = 50
SETTLE_S = 6  # what only the start needs is let go of by then
QUICK = [("same", "bulk", 1), ("cross", "bulkrev", 8), ("cross", "rr", 32), ("cross", "crr", 16)]
SIDES = ("cpu_src", "cpu_dst")


def measures(mode, answer):
    """(suffix of the row, unit, value) of one load."""
    if mode.startswith("bulk"):
        amount, unit = answer["bytes"] / 1e9, "CPU s/GB"
        yield "", "Gbit/s", answer["gbits"]
    else:
        amount = answer["transactions"] / 1000
        unit = "CPU s/1000 " + ("requests" if mode == "rr" else "connections")
        yield ".tps", "1/s", answer["tps"]
        yield ".p50_us", "us", answer["p50_us"]
        yield ".p99_us", "us", answer["p99_us"]
    for side, seconds in zip(SIDES, answer["cpu"]):
        if seconds is not None and amount > 0:
            yield f".{side}", unit, seconds / amount


class Table:
    """Row -> peer -> the values of all rounds."""

    def __init__(self):
        self.units = {}
        self.values = {}

    def add(self, row, unit, peer, value):
        self.units[row] = unit
        self.values.setdefault(row, {}).setdefault(peer, []).append(value)

    def get(self, row, peer):
        found = self.values.get(row, {}).get(peer)
        return statistics.median(found) if found else None

    def rows(self):
        for row, unit in self.units.items():
            yield {"name": row, "unit": unit, **{peer: self.get(row, peer) for peer in PEERS}}


def measure_memory(table, everybody, connections):
    """Resident memory before any load, and what idle connections add on the side where they add more, once there
    have been some: the first ones need code that no idle process holds."""
    time.sleep(SETTLE_S)
    for peer in everybody:
        idle = peer.memory("cross") if "cross" in peer.processes else [None]
        if idle[0] is None:
            continue
        table.add("memory.idle", "MB", peer.name, max(idle) / 1024)
        with peer.holding("cross", FIRST_CONNECTIONS):
            pass
        before = peer.memory("cross")
        with peer.holding("cross", connections):
            time.sleep(1)
            after = peer.memory("cross")
        added = max(late - early for late, early in zip(after, before))
        table.add("memory.per_conn", "kB", peer.name, added / connections)


def run_loads(table, everybody, loads, rounds, seconds):
    for turn in range(rounds):
        for place, mode, connections in loads:
            for peer in everybody:
                if place not in peer.targets or (peer.name == "splice" and not mode.startswith("bulk")):
                    continue
                answer = peer.run(place, mode, connections, seconds)
                row = f"{place}.{mode}.c{connections}"
                if answer["failures"]:
                    print(f"bench: {row}: {peer.name} failed {answer['failures']} times", file=sys.stderr)
                for suffix, unit, value in measures(mode, answer):
                    table.add(row + suffix, unit, peer.name, value)
        print(f"bench: round {turn + 1} of {rounds} done", file=sys.stderr)


def show(table):
    def cell(value):
        return f"{value:12.4g}" if value is not None else " " * 11 + "-"
    print(f"{'':28}{'':24}" + "".join(f"{peer:>12}" for peer in PEERS) + f"{'weft/envoy':>12}")
    for row in table.rows():
        ratio = row["weft"] / row["envoy"] if row["weft"] and row["envoy"] else None
        print(f"{row['name']:28}{row['unit']:24}" + "".join(cell(row[peer]) for peer in PEERS) + cell(ratio))


def bulk_per_cpu(table, row, peer):
    seconds = [table.get(f"{row}.{side}", peer) for side in SIDES]
    return 1 / sum(seconds) if None not in seconds and sum(seconds) > 0 else None


def goals(table):
    """(what, goal, holds by this test of the ratio or value, value); a value of None was not measured."""
    def ratio(row, peer="weft", against="envoy", of=table.get):
        ours, theirs = of(row, peer), of(row, against)
        return ours / theirs if ours and theirs else None

    def per_cpu(row):
        return ratio(row, of=lambda name, peer: bulk_per_cpu(table, name, peer))

    for mode in ("bulk", "bulkrev"):
        for size in (1, 8):
            yield f"cross.{mode}.c{size} per CPU s, against Envoy", ">=", 1.6, per_cpu(f"cross.{mode}.c{size}")
    yield "cross.rr.c1 p50, against Envoy", "<=", 0.85, ratio("cross.rr.c1.p50_us")
    yield "cross.rr.c32 tps, against Envoy", ">=", 1.7, ratio("cross.rr.c32.tps")
    yield "cross.crr.c16 tps, against Envoy", ">=", 3.5, ratio("cross.crr.c16.tps")
    yield "memory.idle, MB", "<=", 12, table.get("memory.idle", "weft")
    yield "memory.per_conn, kB", "<=", 6, table.get("memory.per_conn", "weft")
    for mode in ("bulk", "bulkrev"):
        for size in (1, 8):
            row = f"same.{mode}.c{size}.cpu_src"
            yield f"{row}, against splice", "<=", 1.0, ratio(row, against="splice")


def show_goals(table):
    for what, sign, goal, value in goals(table):
        if value is None:
            continue
        holds = value >= goal if sign == ">=" else value <= goal
        print(f"{what:44} {value:8.3g}  goal {sign} {goal:<5} {'holds' if holds else 'FALLS SHORT'}")


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    parser.add_argument("--rounds", type=int, default=5, help="medians are taken over them")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load")
    parser.add_argument("--only", metavar="REGEX", default="", help="loads, by name: cross.bulk.c1")
    parser.add_argument("--peers", default=",".join(PEERS), help="who is measured (default: %(default)s)")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory rows out")
    parser.add_argument("--quick", action="store_true", help="a few short loads, to see that all of it works")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 0.3
    args.peers = args.peers.split(",")
    if wrong := set(args.peers) - set(PEERS):
        parser.error(f"--peers: {', '.join(wrong)}: expected some of {', '.join(PEERS)}")
    return args


def make_peers(args, stack):
    stages = {}
    for backend, name in (("uring", "weft"), ("epoll", "weft_epoll")):
        if backend == "uring" or name in args.peers:
            stages[name] = peers.Stage(backend)
            stages[name].up()
            stack.callback(stages[name].box.down)
    stage = stages["weft"]
    makers = {"none": lambda: peers.direct(stage), "weft": lambda: peers.weft(stage),
              "weft_epoll": lambda: peers.weft(stages["weft_epoll"]),
              "envoy": lambda: envoy(stage, pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())), stack),
              "splice": lambda: peers.splice(stage, stack)}
    return [makers[name]() for name in args.peers]


def main():
    args = parse()
    if os.geteuid() != 0:
        sys.exit("bench: needs root (network namespaces, cgroups, BPF)")
    loads = QUICK if args.quick else LOADS
    loads = [load for load in loads if re.search(args.only, "{}.{}.c{}".format(*load))]
    table = Table()
    with contextlib.ExitStack() as stack:
        everybody = make_peers(args, stack)
        if not args.no_memory:
            measure_memory(table, everybody, 50 if args.quick else IDLE_CONNECTIONS)
        run_loads(table, everybody, loads, args.rounds, args.seconds)
    show(table)
    show_goals(table)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"rows": list(table.rows())}, indent=1) + "\n")


main()
