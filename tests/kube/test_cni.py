"""A pod starts captured or not at all: weft-cni under a real kubelet and container runtime, on one node."""

import json
import unittest

import nodes
from mesh import NAMESPACE, Mesh
from processes import eventually

CLIENT = "docker.io/shop/client:1.0"
# Greets with the client's address; 500 at /healthz once /tmp/bad is there.
SERVER = ("import http.server, os\n"
          "class H(http.server.BaseHTTPRequestHandler):\n"
          "    def do_GET(self):\n"
          "        bad = self.path == '/healthz' and os.path.exists('/tmp/bad')\n"
          "        body = self.client_address[0].encode()\n"
          "        self.send_response(500 if bad else 200); self.send_header('Content-Length', str(len(body)))\n"
          "        self.end_headers(); self.wfile.write(body)\n"
          "    def log_message(self, *_): print('asked', self.path, flush=True)\n"
          "http.server.ThreadingHTTPServer(('', 8080), H).serve_forever()\n")
HEALTH = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
ASK = "curl -sS --fail --retry 0 --max-time 20 http://web.strict:8080/"


def container(name, *command, **more):
    return {"name": name, "image": CLIENT, "imagePullPolicy": "Never", "command": list(command), **more}


def pod(name, namespace, *containers, **spec):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers), **spec}}


def server(name, namespace, **more):
    return pod(name, namespace, container("main", "python3", "-u", "-c", SERVER, readinessProbe=HEALTH, **more))


class Cni(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mesh = Mesh(nodes=1).__enter__()
        cls.addClassCleanup(cls.mesh.close)
        cls.mesh.install()
        cls.node = cls.mesh["kn1"]
        for name in ("strict", "open", "later"):
            cls.mesh.kubectl("create", "namespace", name)
        for name in ("strict", "open"):
            cls.mesh.enrol(name)
        cls.mesh.apply([
            {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
             "metadata": {"name": "strict", "namespace": "strict"}, "spec": {"mtls": {"mode": "STRICT"}}},
            server("web", "strict"), pod("ask", "open", container("main", "sleep", "infinity")),
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "strict"},
             "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080}]}},
            pod("stranger", "later", container("main", "sleep", "infinity"))])
        cls.mesh.wait_captured("strict")
        cls.mesh.wait_captured("open")
        cls.mesh.wait_pods("later")
        eventually(lambda: cls.asks("stranger", "later")[0] == 0, within=30, what="STRICT in force")
        eventually(lambda: cls.asks()[0] == 200, what="an answer under STRICT")

    def status(self):
        """What the node's agent says of itself."""
        return json.loads(self.node.run("curl", "-sS", "--unix-socket", "/run/weft/agent.sock", "http://agent/status"))

    def states(self, namespace):
        return {one["name"]: one["state"] for one in self.status()["pods"] if one["namespace"] == namespace}

    def held(self):
        """What the node holds for its pods: network namespaces, and the kernel's links of captured ones."""
        return [len(self.node.run("sh", "-c", f"ls -d {pattern} 2>/dev/null || true").split())
                for pattern in ("/run/netns/*", "/sys/fs/bpf/weft/kn1/deliver-*")]

    def ended(self, name, namespace, within=40):
        """Waits for a pod that runs to its end; its phase and what it wrote."""
        def phase():
            said = self.mesh.get("pod", name, "-n", namespace)["status"]["phase"]
            return said if said in ("Succeeded", "Failed") else None
        result = eventually(phase, within, f"the end of {name}")
        return result, self.mesh.kubectl("logs", "-n", namespace, name, "--all-containers")

    @classmethod
    def asks(cls, name="ask", namespace="open", url="http://web.strict:8080/"):
        return cls.mesh.curl(name, url, namespace=namespace)

    def address(self, name, namespace):
        return self.mesh.get("pod", name, "-n", namespace)["status"]["podIP"]

    def delete(self, namespace, *names):
        self.mesh.kubectl("delete", "pod", "-n", namespace, *names, "--wait")

    def test_the_very_first_connection_is_captured(self):
        """STRICT refuses plain text, so only a pod that was captured before its first process gets an answer; of init
        containers as of others."""
        self.mesh.apply([pod("first", "open", container("main", "sh", "-c", ASK), restartPolicy="Never",
                             initContainers=[container("before", "sh", "-c", ASK)])])
        phase, said = self.ended("first", "open")
        self.assertEqual((phase, said), ("Succeeded", self.address("first", "open") * 2))
        self.delete("open", "first")

    def test_strict_refuses_plain_text_and_lets_probes_pass(self):
        self.assertEqual(self.asks("stranger", "later", f"http://{self.address('web', 'strict')}:8080/")[0], 0)
        self.assertEqual(self.asks()[0], 200)
        before = self.mesh.kubectl("logs", "-n", "strict", "web").count("/healthz")
        eventually(lambda: self.mesh.kubectl("logs", "-n", "strict", "web").count("/healthz") > before, what="a probe")
        self.assertEqual(self.status()["probes"]["state"], "let through")

    def test_pods_that_end_leave_nothing(self):
        before = self.held()
        self.mesh.apply([
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum", "namespace": "open"},
             "spec": {"completions": 3, "parallelism": 3, "template": {"spec": {
                 "restartPolicy": "Never", "containers": [container("main", "sh", "-c", ASK)]}}}},
            pod("gone", "open", container("main", "sleep", "infinity"))])
        self.mesh.kubectl("wait", "-n", "open", "--for=condition=complete", "job/sum", "--timeout=60s", within=90)
        self.mesh.wait_captured("open", "app=gone")
        self.delete("open", "gone")
        eventually(lambda: self.held() == before, what=f"no more than before: {before}")
        self.assertEqual(set(self.states("open")), {"ask"})
        self.mesh.kubectl("delete", "job", "sum", "-n", "open", "--wait")
        self.assertEqual(self.held(), before)

    def agent(self):
        found = self.mesh.weft_pods("weft-agent")
        return found[0]["metadata"]["name"] if found else None

    def test_the_next_agent_takes_over(self):
        before, links = self.agent(), "ls -i /sys/fs/bpf/weft/kn1 | grep deliver | sort"
        held = self.node.run("sh", "-c", links)
        self.mesh.kubectl("delete", "pod", "-n", NAMESPACE, before, "--wait=false")
        self.mesh.apply([pod("meanwhile", "open", container("main", "sh", "-c", ASK), restartPolicy="Never")])
        self.assertEqual(self.ended("meanwhile", "open", 60)[0], "Succeeded")
        self.assertNotEqual(self.agent(), before)
        self.assertEqual(self.asks()[0], 200)
        self.delete("open", "meanwhile")
        eventually(lambda: self.node.run("sh", "-c", links) == held, what="the same links as before")

    def test_without_an_agent_pods_wait_and_their_events_say_why(self):
        patch = {"spec": {"template": {"spec": {"nodeSelector": {"no": "such-node"}}}}}
        self.mesh.kubectl("patch", "daemonset", "weft-agent", "-n", NAMESPACE, "-p", json.dumps(patch))
        try:
            eventually(lambda: self.agent() is None, within=40, what="no agent")
            self.mesh.apply([pod("late", "open", container("main", "sh", "-c", ASK), restartPolicy="Never"),
                             pod("system", "kube-system", container("main", "sleep", "infinity"))])
            self.mesh.wait_pods("kube-system", "app=system")
            self.delete("kube-system", "system")
            self.assertEqual(self.asks()[0], 200, "what was captured works on")
            said = eventually(lambda: self.mesh.kubectl(
                "get", "events", "-n", "open", "--field-selector=involvedObject.name=late,reason=FailedCreatePodSandBox",
                "-o", "jsonpath={.items[*].message}"), within=40, what="an event")
            self.assertIn("weft-cni: pod open/late may not start", said)
            self.assertIn("is the weft-agent pod of this node running?", said)
            self.assertEqual(self.mesh.get("pod", "late", "-n", "open")["status"]["phase"], "Pending")
        finally:
            patch["spec"]["template"]["spec"]["nodeSelector"] = None
            self.mesh.kubectl("patch", "daemonset", "weft-agent", "-n", NAMESPACE, "-p", json.dumps(patch))
        self.assertEqual(self.ended("late", "open", 90)[0], "Succeeded")
        self.delete("open", "late")

    def test_what_somebody_takes_away_is_put_back(self):
        ours = ("/etc/cni/net.d/10-pods-weft.conflist", "/opt/cni/bin/weft-cni")
        self.node.run("rm", *ours)
        eventually(lambda: self.node.run("ls", *ours), what="both files again")
        self.node.run("sh", "-c", f"echo '{{}}' > {ours[0]}; echo junk > {ours[1]}")
        eventually(lambda: "weft-cni" in self.node.run("cat", ours[0]) and
                   self.node.run("env", "CNI_COMMAND=VERSION", ours[1], input='{"cniVersion":"1.0.0"}'),
                   what="both files as they were")
        self.mesh.apply([pod("then", "open", container("main", "sh", "-c", ASK), restartPolicy="Never")])
        self.assertEqual(self.ended("then", "open")[0], "Succeeded")
        self.delete("open", "then")

    def test_z_a_node_reboots(self):
        self.node.reboot()

        def again():
            return set(self.states("open").values()) | set(self.states("strict").values()) == {"captured"}
        eventually(again, within=90, what="every pod captured again", pause=0.3)
        eventually(lambda: self.asks()[0] == 200, within=60, what="an answer under STRICT", pause=0.3)


if __name__ == "__main__":
    nodes.main("helm")
