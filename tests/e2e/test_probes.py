"""Kubelet probes of pods under STRICT: the kubelet gets through, whoever only looks like it does not."""

import subprocess

import harness
from harness import (PEER, PYTHON, Suite, account, client, eventually, in_netns, mesh_namespace, namespace,
                     peer_authentication, pod, server)

HTTP = {"httpGet": {"path": "/well", "port": 8080}, "periodSeconds": 1}
SERVE = [PYTHON, "-u", PEER, "serve"]


def finish(process, text=None):
    """(exit code, standard output, standard error)."""
    out, err = process.communicate(text, timeout=30)
    return process.returncode, out, err


class Probes(Suite):
    tag = "probe"
    objects = [mesh_namespace("mesh"), namespace("plain"), account("s1", "mesh"), account("h", "mesh"),
               peer_authentication("strict", "mesh", "STRICT"), server("s1", "mesh", "node-1"),
               pod("h", "mesh", SERVE, "node-1", readinessProbe=HTTP, livenessProbe=HTTP, startupProbe=HTTP),
               client("c1", "mesh", "node-2", sa="s1"), client("stranger", "plain", "node-1"),
               server("out", "plain", "node-1")]

    def on_node(self, cgroup, *command):
        return self.box.on_node("node-1", cgroup, *command)

    def url(self, name="s1", port=8080):
        return f"http://{self.box.ip(name, 'mesh')}:{port}/"

    def counted(self, name):
        return self.box.node_status("node-1")["capture"][name]

    def open_probes(self):
        return self.box.node_status("node-1")["probes"]["open"]

    def test_pods_are_ready_because_probes_pass(self):
        # setUpClass has waited for it: here only that it is by proof, and that policy is in force meanwhile.
        self.assertEqual(self.box.node_status("node-1")["probes"]["state"], "let through")
        before = self.counted("inbound_probe")
        eventually(lambda: self.counted("inbound_probe") > before)
        self.assertIn("GET /well", self.box.weft("logs", "h", "-n", "mesh").stdout)
        self.assertTrue(self.box.refused("stranger", self.url(), ns="plain"))
        self.assertEqual(self.box.curl("c1", self.url()), "hello from s1\n")

    def test_only_the_kubelets_cgroup_gets_through(self):
        for name in ("s1", "h"):
            self.assertEqual(finish(self.on_node("kubelet", "curl", "-sS", "-m", "5", self.url(name))),
                             (0, f"hello from {name}\n", ""))
            code, out, _ = finish(self.on_node("hostnetwork", "curl", "-sS", "-m", "5", self.url(name)))
            self.assertNotEqual(code, 0)
            self.assertEqual(out, "")
        eventually(lambda: any("denied" in entry.get("error", "") or "polic" in entry.get("error", "")
                               for entry in self.box.access("node-1", direction="inbound", dst__workload="h")))

    def test_a_client_masqueraded_as_the_node_does_not(self):
        node = f"weft-{self.box.name}-node-1"
        address = self.box.ip("stranger", "plain")
        rules = ("table ip disguise {\n chain out {\n type nat hook postrouting priority 90\n"
                 f"ip saddr {address} oifname cni0 masquerade\n }}\n}}\n")
        subprocess.run(["ip", "netns", "exec", node, "nft", "-f", "-"], input=rules, text=True, check=True)
        try:
            seen = self.box.peer("stranger", "ask_who", self.box.ip("out", "plain"), 7006, ns="plain")
            self.assertEqual(seen["server"]["peer"][0], "10.244.1.1")
            # The kubelet has a connection open from a port that the client takes too.
            talk = self.on_node("kubelet", PYTHON, "-u", PEER, "converse_from", self.box.ip("s1", "mesh"), 7001, 33333)
            self.assertEqual(talk.stdout.readline(), "open\n")
            for port in (33333, 0):
                done = self.box.exec("stranger", "curl", "-sS", "-m", "5", "--local-port", str(port or "40000-50000"),
                                     self.url(port=7001), ns="plain")
                self.assertNotEqual(done.returncode, 0, done.stdout)
            talk.stdin.write("still mine\n")
            talk.stdin.flush()
            self.assertEqual(talk.stdout.readline(), "still mine\n")
            self.assertEqual(finish(talk)[0], 0)
        finally:
            in_netns(node, "nft", "delete", "table", "ip", "disguise")

    def test_what_the_kubelet_closed_is_forgotten(self):
        talks = [self.on_node("kubelet", PYTHON, "-u", PEER, "converse", self.box.ip("s1", "mesh"), 7001)
                 for _ in range(5)]
        for talk in talks:
            self.assertEqual(talk.stdout.readline(), "open\n")
        self.assertGreaterEqual(self.open_probes(), 5)
        talks[0].kill()
        for talk in talks:
            finish(talk)
        eventually(lambda: self.open_probes() == 0)

    def test_probes_pass_while_the_agent_is_away(self):
        _, agent, _ = self.box.state("node-1-agent")
        subprocess.run(["kill", "-STOP", str(agent)], check=True)
        try:
            self.assertEqual(finish(self.on_node("kubelet", "curl", "-sS", "-m", "5", self.url()))[0], 0)
        finally:
            subprocess.run(["kill", "-CONT", str(agent)], check=True)

    def test_what_does_not_answer_is_not_ready_and_says_why(self):
        self.box.apply(pod("deaf", "mesh", ["sleep", "infinity"], "node-1", sa="s1", probe=8080))
        try:
            status = eventually(lambda: (now := self.box.get("pod", "deaf", "mesh")["status"]).get("message") and now)
            self.assertIn("readiness probe failed", status["message"])
            self.assertIn("refused", status["message"])
            self.assertIn({"type": "Ready", "status": "False"}, status["conditions"])
        finally:
            self.box.delete("pod", "deaf", "mesh")

    def test_what_is_not_alive_is_started_again(self):
        self.box.apply(pod("dead", "mesh", ["sleep", "infinity"], "node-1", sa="s1",
                           livenessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1}))
        try:
            def restarted():
                status = self.box.get("pod", "dead", "mesh")["status"]
                return status.get("containerStatuses", [{"restartCount": 0}])[0]["restartCount"] > 0
            eventually(restarted)
            self.assertIn("liveness probe failed", self.box.log("supervisor"))
        finally:
            self.box.delete("pod", "dead", "mesh")


if __name__ == "__main__":
    harness.main()
