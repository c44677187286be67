"""Policies on real nodes: STRICT with the kubelet's probes passing, who may call whom, and what follows live."""

import nodes
from pods import NS, container, pod, service
from processes import eventually
from suite import MeshSuite

PROBES = {"livenessProbe": {"httpGet": {"path": "/live", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2},
          "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}


class Strict(MeshSuite):
    objects = [pod("web", "kn2", container(port=8080, ports=[{"containerPort": 8080, "hostPort": 18080}], **PROBES)),
               service("web", 80, 8080), pod("friend", "kn1", serviceAccountName="friend"),
               pod("stranger", "kn1", serviceAccountName="stranger"), pod("near", "kn2", serviceAccountName="stranger"),
               pod("outside", "kn1", namespace="default"), pod("outside-near", "kn2", namespace="default")]

    @classmethod
    def prepare(cls):
        for account in ("friend", "stranger"):
            cls.mesh.kubectl("create", "serviceaccount", account, "-n", NS)
        cls.mesh.mutual_tls(NS, "STRICT")

    def setUp(self):
        eventually(lambda: self.ask("friend") == 200, what="an answer under STRICT")
        eventually(lambda: self.ask("outside", "default") == 0, what="STRICT in force")

    def ask(self, client, namespace=NS, url=f"http://web.{NS}/"):
        return self.mesh.curl(client, url, "--max-time", "3", namespace=namespace)[0]

    def test_plain_text_is_refused_from_everywhere_but_the_kubelet(self):
        address = self.get("web")["status"]["podIP"]
        self.assertEqual(self.ask("friend"), 200)
        for client in ("outside", "outside-near"):
            for url in (f"http://web.{NS}/", f"http://{address}:8080/"):
                self.assertEqual(self.ask(client, "default", url), 0, f"{client} {url}")
        for node in self.mesh.nodes:  # a process of the node is not its kubelet
            done = node.run("curl", "-sS", "--max-time", "3", f"http://{address}:8080/", check=False)
            self.assertNotEqual(done.returncode, 0, f"from {node.name}: {done.stdout}")

    def test_probes_pass(self):
        """Liveness every second, failing twice would restart it: it never did, and it is Ready."""
        asked = lambda: self.mesh.kubectl("logs", "-n", NS, "web").count("asked /live")  # noqa: E731
        before = asked()
        eventually(lambda: asked() > before + 4, what="probes that arrive")
        web = self.get("web")
        self.assertTrue(nodes.is_ready(web))
        self.assertEqual(web["status"]["containerStatuses"][0]["restartCount"], 0)

    def test_exec_and_port_forward_still_work(self):
        self.assertEqual(self.mesh.kubectl("exec", "-n", NS, "web", "--", "true"), "")
        with self.mesh.port_forward("service/web", 80, NS) as port:
            said = self.mesh.namespaces.run("curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{port}/")
        self.assertEqual(said, "127.0.0.1")

    def test_who_may(self):
        self.mesh.policy("friends", NS, action="ALLOW", selector={"matchLabels": {"app": "web"}},
                         rules=[{"from": [{"source": {"principals": [f"cluster.local/ns/{NS}/sa/friend"]}}]}])
        self.addCleanup(self.mesh.kubectl, "delete", "authorizationpolicy", "friends", "-n", NS)
        for client in ("stranger", "near"):
            eventually(lambda: self.ask(client) == 0, what=f"{client} refused")
        self.assertEqual(self.ask("friend"), 200)
        self.assertTrue(nodes.is_ready(self.get("web")))


if __name__ == "__main__":
    nodes.main("helm")
