"""A pod starts captured or not at all: weft-cni under a real kubelet and container runtime, on one node."""

import json

import nodes
from mesh import CAPTURED
from pods import container, pod, service
from processes import eventually
from release import NAMESPACE
from suite import MeshSuite

ASK = "curl -sS --fail --retry 0 --max-time 20 http://web.strict:8080/"


def asks_once(name, namespace="open", **spec):
    """A pod that asks once, says what it was answered, and ends."""
    return pod(name, "kn1", container(command=["sh", "-c", ASK]), namespace=namespace, restartPolicy="Never", **spec)


class Cni(MeshSuite):
    nodes = 1
    namespaces = ("strict", "open")
    objects = [pod("web", "kn1", container(port=8080), namespace="strict"), service("web", 8080, 8080, "strict"),
               pod("ask", "kn1", namespace="open"), pod("stranger", "kn1", namespace="later")]

    @classmethod
    def prepare(cls):
        cls.node = cls.mesh["kn1"]
        cls.namespace("later", enrol=False)
        cls.mesh.mutual_tls("strict", "STRICT")

    def setUp(self):
        eventually(lambda: self.asks("stranger", "later")[0] == 0, what="STRICT in force")
        eventually(lambda: self.asks()[0] == 200, what="an answer under STRICT")

    def status(self):
        """What the node's agent says of itself."""
        return json.loads(self.node.run("curl", "-sS", "--unix-socket", "/run/weft/agent.sock", "http://agent/status"))

    def states(self, namespace):
        return {one["name"]: one["state"] for one in self.status()["pods"] if one["namespace"] == namespace}

    def held(self):
        """What the node holds for its pods: network namespaces, and the kernel's links of captured ones."""
        return [len(self.node.run("sh", "-c", f"ls -d {pattern} 2>/dev/null || true").split())
                for pattern in ("/run/netns/*", "/sys/fs/bpf/weft/kn1/deliver-*")]

    def captured(self):
        """The names of the node's captured pods, as the API has them."""
        pods = self.mesh.get("pods", "-A")["items"]
        return {one["metadata"]["name"] for one in pods if CAPTURED in one["metadata"].get("annotations", {})}

    def ended(self, name, namespace, within=40):
        """Waits for a pod that runs to its end; its phase and what it wrote."""
        def phase():
            said = self.mesh.get("pod", name, "-n", namespace)["status"]["phase"]
            return said if said in ("Succeeded", "Failed") else None
        result = eventually(phase, within, f"the end of {name}")
        return result, self.mesh.kubectl("logs", "-n", namespace, name, "--all-containers")

    def asks(self, name="ask", namespace="open", url="http://web.strict:8080/"):
        return self.ask(name, url, namespace)

    def delete(self, namespace, *names):
        self.mesh.kubectl("delete", "pod", "-n", namespace, *names, "--wait")

    def test_the_very_first_connection_is_captured(self):
        """STRICT refuses plain text, so only a pod that was captured before its first process gets an answer; of init
        containers as of others."""
        self.mesh.apply(asks_once("first", initContainers=[container("before", command=["sh", "-c", ASK])]))
        phase, said = self.ended("first", "open")
        self.assertEqual((phase, said), ("Succeeded", self.address("first", "open") * 2))
        self.delete("open", "first")

    def test_strict_refuses_plain_text_and_lets_probes_pass(self):
        self.assertEqual(self.asks("stranger", "later", f"http://{self.address('web', 'strict')}:8080/")[0], 0)
        self.assertEqual(self.asks()[0], 200)
        before = self.mesh.kubectl("logs", "-n", "strict", "web").count("asked /ready")
        eventually(lambda: self.mesh.kubectl("logs", "-n", "strict", "web").count("asked /ready") > before, what="a probe")
        self.assertEqual(self.status()["probes"]["state"], "let through")

    def test_pods_that_end_leave_nothing(self):
        before = eventually(lambda: self.held() if self.held()[1] == len(self.captured()) else None, what="a steady node")
        self.mesh.apply([
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum", "namespace": "open"},
             "spec": {"completions": 3, "parallelism": 3, "template": {"spec": {
                 "restartPolicy": "Never", "containers": [container(command=["sh", "-c", ASK])]}}}},
            pod("gone", "kn1", namespace="open")])
        self.mesh.kubectl("wait", "-n", "open", "--for=condition=complete", "job/sum", "--timeout=60s", within=90)
        self.mesh.wait_captured("open", "app=gone")
        self.delete("open", "gone")
        eventually(lambda: self.held() == before, what=f"no more than before: {before}")
        eventually(lambda: set(self.states("open")) == {"ask"}, what="no other pod in the agent's status")
        self.mesh.kubectl("delete", "job", "sum", "-n", "open", "--wait")
        self.assertEqual(self.held(), before)

    def agent(self):
        found = self.mesh.weft_pods("weft-agent")
        return found[0]["metadata"]["name"] if found else None

    def test_the_next_agent_takes_over(self):
        before, links = self.agent(), "ls -i /sys/fs/bpf/weft/kn1 | grep deliver | sort"
        held = self.node.run("sh", "-c", links)
        self.mesh.kubectl("delete", "pod", "-n", NAMESPACE, before, "--wait=false")
        self.mesh.apply(asks_once("meanwhile"))
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
            self.mesh.apply([asks_once("late"), pod("system", "kn1", namespace="kube-system")])
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
        self.mesh.apply(asks_once("then"))
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
