"""Waiting for what may be late: no test sleeps."""

import subprocess
import time


def eventually(ask, within=30.0, what="it", pause=0.05):
    """Returns ask()'s first true answer; fails with its last error when the time (seconds) is over."""
    end = time.monotonic() + within
    last = None
    while True:
        try:
            answer = ask()
            if answer:
                return answer
            last = f"last answer: {answer!r}"
        except (AssertionError, subprocess.SubprocessError, OSError, ValueError, KeyError) as problem:
            last = problem
        if time.monotonic() >= end:
            raise AssertionError(f"{what} not so within {within} s; {last}")
        time.sleep(pause)
