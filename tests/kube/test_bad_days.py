"""Bad days of real nodes: what dies, is deleted or away, and what users notice of it."""

import nodes
import release
from mesh import CAPTURED
from pods import NS, load, pod, served
from processes import eventually
from release import NAMESPACE
from suite import MeshSuite


class BadDays(MeshSuite):
    objects = [*served(), pod("ask", "kn1"), pod("near", "kn2"), pod("outside", "kn1", namespace="default")]

    def kill(self, node, program):
        """SIGKILL for a program of ours on a node; returns when its container runs again."""
        def started(pod):
            return pod["status"]["containerStatuses"][0]["containerID"]
        name = program.replace(" node", "").replace(" ", "-")
        before = started(self.mesh.weft_pods(name, node)[0])
        for pid in self.mesh[node].run("pgrep", "-xf", f"(/usr/local/bin/)?{program} .*").split():
            self.mesh[node].run("kill", "-9", pid)

        def again():
            now = self.mesh.weft_pods(name, node)[0]
            return nodes.is_ready(now) and started(now) != before
        eventually(again, within=60, what=f"{program} of {node} again")

    def test_agent_killed(self):
        with load(self.mesh):
            self.kill("kn1", "weft-agent node")
        self.new_pod_is_captured()

    def test_ztunnel_killed(self):
        """Connections of its own are cut; new ones wait for the next, which has its identities at once."""
        self.kill("kn1", "weft-ztunnel node")
        self.works()
        self.new_pod_is_captured()

    def test_control_killed_replica_after_replica(self):
        with load(self.mesh):
            for one in self.mesh.weft_pods("weft-control"):
                self.mesh.kubectl("delete", "pod", one["metadata"]["name"], "-n", NAMESPACE, "--grace-period=0", "--force")
                self.mesh.rollout("deployment/weft-control", namespace=NAMESPACE)
        self.new_pod_is_captured()

    def test_api_server_away(self):
        with load(self.mesh, asked_min=100):
            self.mesh.api_server.kill()
            ask = self.mesh["kn1"]
            for _ in range(5):  # it is away while these run: a node's own tools still do their work
                ask.run("ctr", "version")
            self.mesh.api_server.start()
            self.mesh.wait_ready()
        self.new_pod_is_captured()

    def test_conflist_and_plugin_deleted(self):
        node = self.mesh["kn1"]
        node.run("sh", "-c", "rm /etc/cni/net.d/*weft* /opt/cni/bin/weft-cni")
        eventually(lambda: node.run("sh", "-c", "ls /opt/cni/bin/weft-cni /etc/cni/net.d/*weft*", check=False).returncode
                   == 0, what="both again")
        self.new_pod_is_captured()

    def test_no_pod_starts_uncaptured_while_the_agent_is_away(self):
        """It waits, with an event that says for what, and starts once the agent is there."""
        away = '{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":"true"}}}}}'
        back = '{"spec":{"template":{"spec":{"nodeSelector":null}}}}'
        self.mesh.kubectl("patch", "daemonset/weft-agent", "-n", NAMESPACE, "--patch", away)
        try:
            eventually(lambda: not self.mesh.weft_pods("weft-agent"), what="no agent")
            self.works()
            self.mesh.apply(pod("later", "kn1"))
            self.addCleanup(self.mesh.kubectl, "delete", "pod", "later", "-n", NS, "--grace-period=1")

            def events():
                said = self.mesh.get("events", "-n", NS, "--field-selector=involvedObject.name=later")["items"]
                return [one["message"] for one in said if one["type"] == "Warning" and "weft" in one["message"]]
            self.assertIn("agent", eventually(events, within=40, what="an event")[0])
            self.assertFalse(nodes.is_ready(self.get("later")))
        finally:
            self.mesh.kubectl("patch", "daemonset/weft-agent", "-n", NAMESPACE, "--patch", back)
            self.mesh.wait_installed()
        self.mesh.wait_captured(NS, "app=later")
        self.works("later")

    def scale_control(self, replicas):
        self.mesh.kubectl("scale", "deployment/weft-control", "-n", NAMESPACE, f"--replicas={replicas}")
        eventually(lambda: len(self.mesh.weft_pods("weft-control")) == replicas, within=60, what=f"{replicas} controls")

    def test_node_reboots_while_control_is_away(self):
        """Its ztunnel has lost all that it knew and lets nothing through; it says so, and comes back by itself."""
        def container():
            return self.get("web")["status"]["containerStatuses"][0]["containerID"]
        before = container()
        self.scale_control(0)
        try:
            self.mesh["kn2"].reboot()
            eventually(lambda: container() != before and nodes.is_ready(self.get("web")), within=120, pause=0.5,
                       what="the pod after the reboot")
            said = self.status_says("ztunnel has no configuration from control yet")
            self.assertIn("control      no pod", said)
            self.assertIn("ztunnel does not reach control, and works on what it knows", said[said.index("\nkn1\n"):])
            url = f"http://{self.address('web')}:8080/while-away"
            for client, namespace in (("ask", NS), ("near", NS), ("outside", "default")):
                self.assertEqual(self.ask(client, url, namespace)[0], 0, client)
            self.assertNotIn("/while-away", self.mesh.kubectl("logs", "-n", NS, "web"))
        finally:
            self.scale_control(2)
        self.mesh.wait_installed()
        for client, namespace in (("ask", NS), ("near", NS), ("outside", "default")):
            self.works(client, f"http://web.{NS}/", namespace)
        self.assertNotIn("no configuration", self.status_says("kn2"))

    def status_says(self, words):
        """What `weft status` says, once it says that."""
        def said():
            told = release.weft(self.mesh, "status").stdout
            assert words in told, told
            return told
        return eventually(said, within=60, what=f"{words!r} in weft status", pause=0.5)

    def test_node_reboots(self):
        self.mesh["kn2"].reboot()
        eventually(lambda: all(nodes.is_ready(one) for one in self.mesh.weft_pods("weft-agent", "kn2")), within=90,
                   what="the agent after the reboot", pause=0.5)
        self.mesh.wait_captured(NS, within=90)
        for client in ("ask", "near"):
            self.works(client)
        self.assertEqual(self.get("web")["metadata"]["annotations"][CAPTURED], "enabled")


if __name__ == "__main__":
    nodes.main("helm")
