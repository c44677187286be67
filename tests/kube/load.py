"""Runs in a pod: keeps asking a URL until a file is there, then writes what became of it, as JSON, and sleeps.

python3 load.py URL THREADS FILE: short requests, each on a connection of its own, and beside them one slow request
after the other, of SLOW seconds, which must not be cut.
"""

import json
import os
import sys
import threading
import time
import urllib.request

url, threads = sys.argv[1], int(sys.argv[2])
SLOW = 3
stop = threading.Event()
lock = threading.Lock()
said = {"asked": 0, "slow": 0, "failed": []}


def ask(path, kind, within):
    began = time.time()
    try:
        with urllib.request.urlopen(url + path, timeout=within) as answer:
            answer.read()
        problem = None
    except OSError as error:
        problem = f"{kind} at {began:.1f} after {time.time() - began:.2f} s: {error}"
    with lock:
        said[kind] += 1
        if problem and len(said["failed"]) < 50:
            said["failed"].append(problem)


def short():
    while not stop.is_set():
        ask("/", "asked", 5)
        time.sleep(0.01)


def slow():
    while not stop.is_set():
        ask(f"/slow/{SLOW}", "slow", SLOW + 5)


running = [threading.Thread(target=short) for _ in range(threads)] + [threading.Thread(target=slow)]
for one in running:
    one.start()
print("asking", flush=True)
while not os.path.exists(sys.argv[3]):
    time.sleep(0.1)
stop.set()
for one in running:
    one.join()
print(json.dumps(said), flush=True)
while True:
    time.sleep(1000)
