"""Thousands of connections at once, for the tests of many.

    crowd.py serve PORT                      tells each client whom it sees, then echoes lines; "pour N": sends N MiB
    crowd.py rush HOST PORT TOTAL AT_ONCE    so many connections, so many open at a time; prints as JSON how it went
    crowd.py pour HOST PORT COUNT MIB        so many open at once, so much received on each, beginning when all are
                                             open; prints how many seconds that took
"""

import asyncio
import collections
import json
import os
import resource
import socket
import sys
import threading
import time

SECONDS = 60
MIB = 1 << 20


def ballast():
    """A MiB to be sent from where it lies: who serves it is to cost little."""
    file = os.fdopen(os.memfd_create("ballast"), "r+b")
    file.truncate(MIB)
    return file


BALLAST = ballast()


async def greet(reader, writer):
    try:
        peer = writer.get_extra_info("peername")
        writer.write(f"{peer[0]} {peer[1]}\n".encode())
        while line := await reader.readline():
            if not line.startswith(b"pour "):
                writer.write(line)
                continue
            for _ in range(int(line[5:])):
                await asyncio.get_running_loop().sendfile(writer.transport, BALLAST, 0, MIB)
        writer.close()
    except OSError:
        pass


async def serve(port):
    server = await asyncio.start_server(greet, "0.0.0.0", int(port), backlog=4096)
    print("serving", flush=True)
    await server.serve_forever()


class Rush:
    def __init__(self, host, port, total, at_once):
        self.host, self.port = host, port
        self.total, self.at_once = total, at_once
        self.open = self.most = self.finished = self.port_kept = self.address_kept = 0
        self.failed = collections.Counter()
        self.all_open = asyncio.Event()

    async def one(self):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            own = writer.get_extra_info("sockname")
            address, port = (await reader.readline()).decode().split()
            self.address_kept += address == own[0]
            self.port_kept += int(port) == own[1]
            self.open += 1
            self.most = max(self.most, self.open)
            if self.open == self.at_once:
                self.all_open.set()
            # The first ones wait for each other, so that all of them are open at some moment.
            await self.all_open.wait()
            writer.write(b"line\n")
            assert await reader.readline() == b"line\n", "no echo"
        finally:
            self.open -= 1
            writer.close()

    async def work(self, turns):
        for _ in range(turns):
            try:
                await asyncio.wait_for(self.one(), SECONDS)
                self.finished += 1
            except (OSError, ValueError, AssertionError, asyncio.TimeoutError) as problem:
                self.failed[repr(problem)] += 1
                self.all_open.set()

    async def run(self):
        turns, rest = divmod(self.total, self.at_once)
        begin = time.monotonic()
        await asyncio.gather(*(self.work(turns + (i < rest)) for i in range(self.at_once)))
        return {"seconds": time.monotonic() - begin, "finished": self.finished, "most": self.most, "address_kept": self.address_kept,
                "port_kept": self.port_kept, "failed": dict(self.failed)}


def pour(host, port, count, mib):
    all_open = threading.Barrier(count + 1, timeout=SECONDS)
    failed = []

    def one():
        try:
            with socket.create_connection((host, port), SECONDS) as connection:
                connection.makefile().readline()
                all_open.wait()
                connection.sendall(f"pour {mib}\n".encode())
                left, into = mib * MIB, bytearray(MIB)
                while left > 0:
                    # Dropped by the kernel, not copied.
                    got = connection.recv_into(into, min(left, MIB), socket.MSG_TRUNC)
                    assert got > 0, "an early end"
                    left -= got
        except (OSError, AssertionError, threading.BrokenBarrierError) as problem:
            failed.append(repr(problem))
            all_open.abort()

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    all_open.wait()
    begin = time.monotonic()
    for thread in threads:
        thread.join()
    assert not failed, failed
    return time.monotonic() - begin


def raise_file_limit():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    raise_file_limit()
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2]))
    else:
        at, numbers = socket.gethostbyname(sys.argv[2]), map(int, sys.argv[3:])
        done = pour(at, *numbers) if sys.argv[1] == "pour" else asyncio.run(Rush(at, *numbers).run())
        print(json.dumps(done))
