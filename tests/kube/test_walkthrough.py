"""What a user does with a cluster and the shop, as written down by users, on two real nodes."""

import json
import re
import subprocess

import nodes
from cluster import KUBERNETES
from mesh import SHOP
from processes import eventually
from suite import MeshSuite

SERVICES = {"user-service": (5001, "/users/1", {"name": "Alice"}),
            "product-service": (5002, "/products/101", {"name": "Laptop"}),
            "order-service": (5003, "/orders/5001",
                              {"order_id": "5001", "user": {"name": "Alice"}, "product": {"name": "Laptop"}})}


def manifest(name, namespace):
    """A file of the shop's manifests with its objects in another namespace."""
    text = (SHOP / "manifests" / name).read_text()
    return re.sub(r"^  namespace: default$", f"  namespace: {namespace}", text, flags=re.MULTILINE)


class Walkthrough(MeshSuite):
    namespaces = ()

    def shop(self, name, label):
        """A labelled namespace with the shop in it, whose pods are spread over the nodes; returns the pods."""
        self.mesh.kubectl("create", "namespace", name)
        self.mesh.kubectl("label", "namespace", name, label)
        self.mesh.kubectl("apply", "-f", "-", input=manifest("10-config.yaml", name))
        for service in SERVICES:
            self.mesh.kubectl("apply", "-f", "-", input=manifest(f"{service}.yaml", name))
        return self.mesh.wait_captured(name)

    def test_the_shop_by_port_forward(self):
        pods = self.shop("shop", "istio.io/dataplane-mode=ambient")
        for pod in pods:
            self.assertEqual([one["ready"] for one in pod["status"]["containerStatuses"]], [True])
        for service, (port, path, answer) in SERVICES.items():
            command = self.mesh.enter(KUBERNETES / "kubectl", "--kubeconfig", self.mesh.admin, "port-forward",
                                      "-n", "shop", f"svc/{service}", f"{port}:80")
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as forward:
                try:
                    self.assertIn("Forwarding", forward.stdout.readline())
                    said = eventually(lambda: self.mesh.namespaces.run(
                        "curl", "-sS", "--fail", "--max-time", "10", f"http://127.0.0.1:{port}{path}"), what=service)
                finally:
                    forward.kill()
            self.assertEqual(json.loads(said), answer)

        def logged():
            lines = [line for node in self.mesh.nodes for line in self.mesh.access_log(node.name).splitlines()]
            return [line for line in lines if "sa/order-service" in line and "direction=\"outbound\"" in line
                    and ":15008" in line]
        placed = {pod["metadata"]["labels"]["app"]: pod["spec"]["nodeName"] for pod in pods}
        if placed["order-service"] != placed["user-service"] or placed["order-service"] != placed["product-service"]:
            self.assertTrue(eventually(logged, what="the order's calls over HBONE in the access log"))

    def test_bookinfo_with_injection_label(self):
        """As with sidecars: the label of injection, sleep scaled to three; pods are in the mesh, READY is 1/1."""
        self.shop("bookinfo", "istio-injection=enabled")
        deployment = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "sleep", "namespace": "bookinfo"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "sleep"}}, "template": {
                "metadata": {"labels": {"app": "sleep"}, "annotations": {"sidecar.istio.io/proxyCPU": "100m"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                    {"name": "sleep", "image": "shop/client:1.0", "command": ["sleep", "infinity"]}]}}}}
        self.mesh.apply(deployment)
        self.mesh.kubectl("scale", "deployment/sleep", "-n", "bookinfo", "--replicas=3")
        eventually(lambda: len(self.mesh.get("pods", "-n", "bookinfo", "-l", "app=sleep")["items"]) == 3,
                   what="three pods")
        pods = self.mesh.wait_captured("bookinfo", "app=sleep")
        self.assertEqual({pod["spec"]["nodeName"] for pod in pods}, {"kn1", "kn2"})
        for pod in pods:
            self.assertEqual(len(pod["spec"]["containers"]), 1)
            client, url = pod["metadata"]["name"], "http://order-service/orders/5001"
            self.works(client, url, "bookinfo")
            self.assertEqual(json.loads(self.ask(client, url, "bookinfo")[1])["user"], {"name": "Alice"})


if __name__ == "__main__":
    nodes.main("helm")
