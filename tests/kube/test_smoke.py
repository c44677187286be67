"""The way of a user in one go, on two nodes: install, enrol, the shop across nodes, a refusal, uninstall."""

import json
import unittest

import nodes
from mesh import NAMESPACE, Mesh
from pods import container, pod
from processes import eventually

# Folders that the kubelet made for mounts, which a pod cannot remove from below itself, and a lock that nobody holds.
EMPTY = ("/run/weft", "/run/weft/zds.sock.lock", "/sys/fs/bpf/weft")


class Smoke(unittest.TestCase):
    def setUp(self):
        self.mesh = Mesh().__enter__()
        self.addCleanup(self.mesh.close)

    def place(self, name, node):
        """Puts a deployment of the shop on one node."""
        spec = {"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}}}}
        self.mesh.kubectl("patch", "deployment", name, "--patch", json.dumps(spec))

    def order(self, client):
        return self.mesh.curl(client, "http://order-service/orders/5001")

    def test_all(self):
        mesh = self.mesh
        mesh.apply(pod("there", "kn2", container(port=8080), namespace="default"))
        mesh.wait_pods("default")
        before = mesh.traces()

        mesh.install()
        mesh.enrol("default")
        mesh.apply_shop()
        for name, node in (("user-service", "kn1"), ("product-service", "kn2"), ("order-service", "kn1")):
            self.place(name, node)
        mesh.rollout("deployment/user-service", "deployment/product-service", "deployment/order-service")
        mesh.wait_captured("default")
        status, body = self.order("sleep")
        self.assertEqual((status, json.loads(body)["product"]), (200, {"name": "Laptop"}))
        eventually(lambda: "sa/order-service" in mesh.access_log("kn2"), what="the call between nodes in the log")

        self.assertEqual(self.order("visitor")[0], 200)
        mesh.policy("no-visitors", "default", action="DENY", selector={"matchLabels": {"app": "order-service"}},
                    rules=[{"from": [{"source": {"principals": ["cluster.local/ns/default/sa/visitor"]}}]}])
        eventually(lambda: self.order("visitor")[0] == 0, what="the visitor refused")
        self.assertEqual(self.order("sleep")[0], 200)
        self.assertIn("no-visitors", mesh.access_log("kn1"))

        mesh.uninstall()
        status, _ = self.order("sleep")
        self.assertEqual(status, 200)
        mesh.kubectl("delete", "deployment", "--all", "-n", "default")
        mesh.kubectl("delete", "pod", "sleep", "visitor", "-n", "default")
        eventually(lambda: len(mesh.get("pods", "-n", "default")["items"]) == 1, what="the pods gone")
        mesh.kubectl("delete", "namespace", "outside", NAMESPACE)

        def left():
            return sorted(line for line in mesh.traces() - before if not line.endswith(EMPTY))
        try:
            eventually(lambda: not left(), what="nodes as before", within=20)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\nleft: {json.dumps(left(), indent=1)}") from problem


if __name__ == "__main__":
    nodes.main("helm")
