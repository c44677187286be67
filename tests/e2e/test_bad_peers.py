"""Peers of port 15008 that behave badly: a table of cases against a real ztunnel. Each ends within a bound of time
and memory and leaves a line in the log, and honest traffic goes on beside it."""

import concurrent.futures
import json
import pathlib
import re
import threading

import harness
import peer_certificates
from harness import Suite, account, client, eventually, mesh_namespace, namespace, server, service

BAD_PEER = str(harness.HERE / "bad_peer.py")
IDENTITY = "spiffe://cluster.local/ns/mesh/sa/c1"
# What one misbehaving peer may cost a ztunnel at its peak: two connections' windows of payload (4 MiB each) at each
# end, and what the allocator keeps.
MEMORY_KB_MAX = 24 << 10

HANDSHAKE = r"TLS"
REFUSED_TLS = r"closed|alert"
CUT_MAX_S = 10  # what needs no waiting; this machine may be busy
# name: (what became of it, seconds at most, what the log says)
CASES = {
    "garbage": (REFUSED_TLS, CUT_MAX_S, HANDSHAKE),
    "long_record": (REFUSED_TLS, CUT_MAX_S, HANDSHAKE),
    "tls12": (r"alert|closed", CUT_MAX_S, HANDSHAKE),
    "no_certificate": (r"alert: \w*CERTIFICATE_REQUIRED|closed", CUT_MAX_S, HANDSHAKE),
    "no_alpn": (r"alert|closed", CUT_MAX_S, r"h2"),
    "wrong_alpn": (r"alert|closed", CUT_MAX_S, r"h2|ALPN|alpn"),
    "expired": (r"alert", CUT_MAX_S, r"expired"),
    "not_yet": (r"alert", CUT_MAX_S, r"not yet valid"),
    "self_signed": (r"alert", CUT_MAX_S, r"self.signed|issuer|verify"),
    "other_domain": (r"alert", CUT_MAX_S, r"trust domain"),
    "two_names": (r"alert", CUT_MAX_S, r"expected exactly one SPIFFE identity"),
    "no_name": (r"alert", CUT_MAX_S, r"no URI name, expected exactly one"),
    "server_only": (r"alert", CUT_MAX_S, r"purpose|usage"),
    "http1": (r"closed|goaway", CUT_MAX_S, r"HTTP/2"),
    "elsewhere": (r"^400, then 200$", CUT_MAX_S, rf"ip mismatch: [\d.]+ != 192\.0\.2\.77.*{IDENTITY}"),
    "elsewhere6": (r"^400, then 200$", CUT_MAX_S, r"ip mismatch: [\d.]+ != fd00::77"),
    "own_port": (r"^503, then 200$", CUT_MAX_S, r"port 15008 is not an application's"),
    "port_0": (r"^400, then 200$", CUT_MAX_S, r"expected a port from 1 to 65535"),
    "no_port": (r"^400, then 200$", CUT_MAX_S, r"expected host:port"),
    "host_name": (r"^400, then 200$", CUT_MAX_S, r"not an address and a port"),
    "bad_authority": (r"^(400|reset 1), then 200$", CUT_MAX_S, r"authority|HTTP/2"),
    "no_brackets": (r"^400, then 200$", CUT_MAX_S, r"authority"),
    "with_path": (r"^reset 1, then 200$", CUT_MAX_S, r"HTTP/2: the peer broke the protocol"),
    "with_scheme": (r"^reset 1, then 200$", CUT_MAX_S, r"HTTP/2: the peer broke the protocol"),
    "upper_case": (r"^reset \d, then 200$", CUT_MAX_S, r"HTTP/2: the peer broke the protocol"),
    "get": (r"^400, then 200$", CUT_MAX_S, r"expected CONNECT, not GET"),
    "many_headers": (r"^reset \d, then 200$", CUT_MAX_S, r"the header list is too long"),
    "long_header": (r"goaway|closed|reset", CUT_MAX_S, r"HTTP/2"),
    "endless_headers": (r"goaway|closed|alert", CUT_MAX_S, r"HTTP/2"),
    "rapid_resets": (r"goaway|closed|alert", 30, r"HTTP/2"),
    "settings_flood": (r"goaway|closed|alert", 30, r"HTTP/2"),
    "ping_flood": (r"goaway|closed|alert", 30, r"HTTP/2"),
    "window_overflow": (r"goaway 3", CUT_MAX_S, r"HTTP/2.*FLOW_CONTROL_ERROR"),
    "overrun": (r"reset 3|goaway 3|closed", 30, r"HTTP/2.*FLOW_CONTROL_ERROR"),
    "shut_window": (r"^held$", 30, r"connection complete"),
    "never_reads": (r"^held$", 30, r"connection complete"),
}
# These end by a limit of time, so they run side by side: name: (outcome, seconds at least and at most, log).
SLOW_CASES = {
    "silent": (r"closed", 8, 20, r"TLS"),
    "half_hello": (r"closed", 8, 20, r"TLS"),
    "slow_hello": (r"closed|alert", 8, 20, r"TLS"),
    "no_preface": (r"closed|alert", 8, 20, r"preface"),
    "slow_preface": (r"closed|alert", 8, 20, r"preface"),
    "slow_headers": (r"closed|alert", 20, 45, r"PING"),
}


def issue_all(authority):
    authority.issue("good", IDENTITY)
    authority.issue("expired", IDENTITY, hours=(-48, -24))
    authority.issue("not_yet", IDENTITY, hours=(24, 48))
    authority.issue("self_signed", IDENTITY, signed=False)
    authority.issue("other_domain", "spiffe://elsewhere.test/ns/mesh/sa/c1")
    authority.issue("two_names", IDENTITY, "spiffe://cluster.local/ns/mesh/sa/s2")
    authority.issue("no_name")
    authority.issue("server_only", IDENTITY, usages=[peer_certificates.SERVER])


class Honest:
    """Requests, one after the other, from an honest pod beside the bad one."""

    def __init__(self, box):
        self.box, self.failed, self.answered = box, [], 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.is_set():
            try:
                self.box.curl("c1", "http://s2/", seconds=10)
                self.answered += 1
            except AssertionError as error:
                self.failed.append(str(error))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


class BadPeers(Suite):
    tag = "badpeer"
    objects = [mesh_namespace("mesh"), namespace("plain"), account("s2", "mesh"), account("c1", "mesh"),
               server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"), client("bad", "plain", "node-1"),
               service("s2", "mesh", {"app": "s2"}, [(80, 8080)])]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        issue_all(peer_certificates.Issuer(cls.box))
        cls.host = cls.box.ip("s2", "mesh")

    def misbehave(self, case, timeout=90):
        """(outcome, seconds)"""
        done = self.box.exec("bad", harness.PYTHON, BAD_PEER, case, self.host, self.box.folder.name, ns="plain",
                             timeout=timeout)
        self.assertEqual(done.returncode, 0, f"{case}: {done.stderr}")
        said = json.loads(done.stdout)
        return said["outcome"], said["seconds"]

    def log(self):
        return self.box.log("node/node-2/ztunnel")

    def check_log(self, log, since, what):
        address = self.box.ip("bad", "plain").replace(".", r"\.")
        line = re.compile(rf'access\t.*src\.addr={address}:.*direction="inbound".*(?:{log})|'
                          rf'access\tconnection complete.*src\.addr={address}:')
        wanted = re.compile(log)
        eventually(lambda: any(line.search(one) and wanted.search(one) for one in self.log()[since:].splitlines()),
                   what=f"{what}: a line with {log}")

    def memory(self):
        """(resident, at its most since the last time) in KB."""
        _, pid, _ = self.box.state("node-2-ztunnel")
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
        return tuple(int(re.search(rf"{key}:\s+(\d+)", status)[1]) for key in ("VmRSS", "VmHWM"))

    def test_each_ends_within_its_bounds(self):
        self.assertEqual(self.misbehave("elsewhere")[0], "400, then 200")  # warm: pools, caches
        restarts = self.box.state("node-2-ztunnel")[0]
        with Honest(self.box) as honest:
            for case, (outcome, seconds, log) in CASES.items():
                with self.subTest(case):
                    before, _ = self.memory()
                    since, answered = len(self.log()), honest.answered
                    said, took = self.misbehave(case)
                    _, peak = self.memory()
                    self.assertRegex(said, outcome)
                    self.assertLessEqual(took, seconds)
                    self.assertLess(peak - before, MEMORY_KB_MAX, "KB")
                    self.check_log(log, since, case)
                    eventually(lambda: honest.answered > answered, what="an honest request answered")
        self.assertEqual(honest.failed, [])
        self.assertEqual(self.box.state("node-2-ztunnel")[0], restarts)

    def test_slow_ones_end_by_a_limit_of_time(self):
        since, (before, _) = len(self.log()), self.memory()
        with Honest(self.box) as honest, concurrent.futures.ThreadPoolExecutor(len(SLOW_CASES)) as pool:
            runs = {case: pool.submit(self.misbehave, case) for case in SLOW_CASES}
            for case, (outcome, at_least, at_most, log) in SLOW_CASES.items():
                with self.subTest(case):
                    said, took = runs[case].result()
                    self.assertRegex(said, outcome)
                    self.assertGreater(took, at_least)
                    self.assertLess(took, at_most)
                    self.check_log(log, since, case)
        self.assertEqual(honest.failed, [])
        self.assertGreater(honest.answered, 10)
        self.assertLess(self.memory()[1] - before, 2 * MEMORY_KB_MAX)

    def test_more_handshakes_than_a_ztunnel_waits_for(self):
        since, (before, _) = len(self.log()), self.memory()
        with Honest(self.box) as honest:
            said, took = self.misbehave("many_connections")
        self.assertEqual(said, "3000 ['closed']")
        self.assertLess(took, 40)
        self.check_log("512 peers are at theirs; the one that took longest gave way", since, "many")
        self.assertEqual(honest.failed, [])
        self.assertGreater(honest.answered, 10)
        # Two workers with 512 handshakes of 40 KiB each, and what the allocator keeps; 3000 would be twice as much.
        self.assertLess(self.memory()[1] - before, 72 << 10, "KB")
        # What they held is let go.
        _, pid, _ = self.box.state("node-2-ztunnel")
        eventually(lambda: len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir())) < 200)


if __name__ == "__main__":
    harness.main()
