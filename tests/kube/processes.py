"""Processes in namespaces of their own, all of which die with the test that started them.

A Namespaces holds a network, a mount and a process namespace by an init process whose death signal
is set: when the test ends, even by `kill -9`, the init dies and the kernel kills all else in there.
"""

import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from eventually import eventually  # noqa: E402: also what suites take from here

# Ignoring SIGCHLD survives exec and makes the kernel reap every orphan that comes to this init.
INIT = ["sh", "-c", "trap '' CHLD; exec sleep infinity"]


def child_of(pid, program):
    """The one child of a process that will become program (nsenter or unshare), and that then only forks and
    waits; None before it is there."""
    try:
        if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() != program:
            return None
        found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(found[0]) if found else None


class Namespaces:
    """A new network, mount and process namespace. Make it in a thread that outlives it."""

    def __init__(self, unshare=(), init=INIT, before=()):
        """unshare: more flags of unshare(1); init: what runs as the first process in there; before: a command
        that runs unshare, e.g. in a cgroup."""
        command = ["setpriv", "--pdeathsig", "KILL", *before, "unshare", "-n", "-m", "-p", "-f", "--mount-proc",
                   "--kill-child", "--propagation", "slave", *unshare, *init]
        self._holder = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL)
        self.init = eventually(lambda: child_of(self._holder.pid, "unshare"), what="the namespaces' init")
        # unshare's child still has its parent's program until it execs the init.
        eventually(lambda: pathlib.Path(f"/proc/{self.init}/comm").read_text().strip() != "unshare",
                   what="the init's own program", pause=0.005)

    def enter(self, *command):
        """The command that runs command in the network namespace alone; what execs it keeps its pid."""
        return ["nsenter", "-t", str(self.init), "--net", "--", *map(str, command)]

    def enter_all(self, *command):
        """The command that runs command in every namespace of the init, as a child of nsenter."""
        return ["nsenter", "-t", str(self.init), "-a", "--", *map(str, command)]

    def run(self, *command, **options):
        """Runs a short command in the network namespace; fails with what it wrote where it fails."""
        done = subprocess.run(self.enter(*command), capture_output=True, text=True, **options)
        assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr or done.stdout}"
        return done.stdout

    def close(self):
        self._holder.kill()
        self._holder.wait()


class Process:
    """A long-running program in a Namespaces, that can be stopped and started again with other flags."""

    def __init__(self, namespaces, name, command, log, env=None, before=()):
        """log: a path, appended to by each start; env: the whole environment, this process's own if None;
        before: a command that runs the rest of its arguments, outside of the namespaces."""
        self.name, self.command, self.log = name, list(map(str, command)), pathlib.Path(log)
        self._namespaces, self._env, self._nsenter, self.pid = namespaces, env, None, None
        self._before = list(map(str, before))

    def start(self, *extra):
        """Starts it, this time with extra arguments after its own."""
        assert not self.running(), f"{self.name} runs already"
        with open(self.log, "ab") as log:
            self._nsenter = subprocess.Popen(
                self._before + self._namespaces.enter_all(*self.command, *extra), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env=self._env)
        self.pid = eventually(lambda: child_of(self._nsenter.pid, "nsenter") or self._died(), what=self.name,
                              pause=0.005)
        return self

    def running(self):
        return self._nsenter is not None and self._nsenter.poll() is None

    def signal(self, number):
        if self.running():
            os.kill(self.pid, number)

    def stop(self, within=20.0):
        """Asks it to end and waits; kills it when the time (seconds) is over. Returns its exit status."""
        self.signal(signal.SIGTERM)
        return self._wait(within)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self._wait(10)

    def pause(self):
        """From now on it neither answers nor closes anything, until resume()."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)
        if self._nsenter is not None:
            self._nsenter.send_signal(signal.SIGCONT)  # it stops with its child, and waits for none then

    def forget(self):
        """After the namespaces are closed: collects the exit status that nobody asks for."""
        self._wait(10)

    def text(self):
        """All that it wrote, since the first start."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _wait(self, within):
        if self._nsenter is None:
            return None
        self._nsenter.send_signal(signal.SIGCONT)
        try:
            return self._nsenter.wait(within)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self._nsenter.wait(10)

    def _died(self):
        if self._nsenter.poll() is not None:
            raise RuntimeError(f"{self.name} ended at once: {self.text()[-2000:]}")
