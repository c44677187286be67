"""What clients do in pods while Weft's processes are killed around them; they print as JSON what they saw.

    chaos_peer.py echo HOST PORT SECONDS PARALLEL SEED
    chaos_peer.py denied HOST PORT SECONDS
"""

import concurrent.futures
import json
import random
import socket
import sys
import threading
import time

from peer import connect


def echo(host, port, seconds, parallel, seed):
    """Connections through an echo, each with bytes of its own, that may break; what arrives must be what was sent."""
    address, end = patient_lookup(host), time.monotonic() + float(seconds)
    found = {"bytes": 0, "whole": 0, "hung": 0, "wrong": []}
    lock = threading.Lock()

    def count(key, number=1):
        with lock:
            found[key] = found.get(key, 0) + number

    def one(chance):
        with connect(address, port, 40) as connection:
            for _ in range(chance.randrange(1, 40)):
                sent, back = chance.randbytes(chance.randrange(1, 64 * 1024)), b""
                connection.sendall(sent)
                while len(back) < len(sent):
                    chunk = connection.recv(len(sent) - len(back))
                    if sent[len(back):len(back) + len(chunk)] != chunk:
                        found["wrong"].append(f"at {len(back)} of {len(sent)}")
                    if not chunk:
                        return "broken: ended"
                    back += chunk
                count("bytes", len(back))
            connection.shutdown(socket.SHUT_WR)
            if more := connection.recv(1):
                found["wrong"].append(f"behind the end: {more}")
            return "whole"

    def loop(number):
        chance = random.Random(int(seed) * 1000 + number)
        while time.monotonic() < end:
            try:
                count(one(chance))
            except TimeoutError:
                count("hung")
            except OSError as problem:
                count(f"broken: {problem.strerror}")

    with concurrent.futures.ThreadPoolExecutor(int(parallel)) as pool:
        list(pool.map(loop, range(int(parallel))))
    return found


def denied(host, port, seconds):
    """Asks a server that speaks first, again and again, and must never hear it."""
    address, end = patient_lookup(host), time.monotonic() + float(seconds)
    found = {"tries": 0, "heard": []}
    while time.monotonic() < end:
        found["tries"] += 1
        try:
            with connect(address, port, 20) as connection:
                if heard := connection.recv(100):
                    found["heard"].append(repr(heard))
        except OSError:
            pass
        time.sleep(0.01)
    return found


def patient_lookup(host):
    for attempt in range(20):
        try:
            return socket.gethostbyname(host)
        except OSError:
            time.sleep(0.5)
    return host


if __name__ == "__main__":
    print(json.dumps({"echo": echo, "denied": denied}[sys.argv[1]](*sys.argv[2:])))
