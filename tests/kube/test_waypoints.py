"""Waypoints on a cluster: what control makes of a Gateway, what it says on it, and whom it serves."""

import unittest

import cluster
from cluster import Cluster
from control import NAMESPACE, Replica, conditions, crd, missing, prepare
from grpc_peer import ADDRESS, Refused
from processes import eventually

GROUP = "gateway.networking.k8s.io"
SHOP = "/api/v1/namespaces/shop"
GATEWAY = f"/apis/{GROUP}/v1/namespaces/shop/gateways/gate"


def definitions():
    """As far as an API server has to know them here."""
    gateways, classes = crd(GROUP, "Gateway", "gateways"), crd(GROUP, "GatewayClass", "gatewayclasses")
    classes["spec"]["scope"] = "Cluster"
    for one in (gateways, classes):
        one["metadata"]["annotations"] = {
            "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/1"}
    return [gateways, classes]


class Waypoints(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.close)
        prepare(cls.cluster)
        cls.cluster.apply(definitions())
        for plural in ("gateways", "gatewayclasses"):
            eventually(lambda: cls.cluster.kubectl("get", f"{plural}.{GROUP}", "-A", check=False).returncode == 0,
                       what=plural)
        cls.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": "shop", "labels": {"istio.io/dataplane-mode": "ambient"}}})
        cls.cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount",
                           "metadata": {"name": "web", "namespace": "shop"}})
        cls.cluster.apply({"apiVersion": "v1", "kind": "Service",
                           "metadata": {"name": "weft-control", "namespace": NAMESPACE},
                           "spec": {"ports": [{"port": 15012}], "selector": {"app": "control"}}})
        cls.replica = Replica(cls.cluster, 0, "--waypoint-image=weft-ztunnel:test").wait_ready()

    def make(self):
        self.cluster.apply({"apiVersion": f"{GROUP}/v1", "kind": "Gateway",
                            "metadata": {"name": "gate", "namespace": "shop"},
                            "spec": {"gatewayClassName": "weft-waypoint", "listeners": [
                                {"name": "mesh", "port": 15008, "protocol": "HBONE"}]}})

    def found(self, path):
        return eventually(lambda: not missing(self.cluster, path) and self.cluster.call("GET", path), what=path)

    def test_a_gateway_becomes_what_runs_it_and_says_so(self):
        self.make()
        uid = self.cluster.call("GET", GATEWAY)["metadata"]["uid"]
        deployment = self.found("/apis/apps/v1/namespaces/shop/deployments/gate")
        self.assertEqual(deployment["metadata"]["ownerReferences"][0]["uid"], uid)
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        self.assertEqual(container["image"], "weft-ztunnel:test")
        address = self.cluster.call("GET", f"/api/v1/namespaces/{NAMESPACE}/services/weft-control")["spec"]["clusterIP"]
        self.assertIn(f"--control={address}:15012", container["args"])
        self.found(f"{SHOP}/serviceaccounts/gate")
        service = self.found(f"{SHOP}/services/gate")
        said = eventually(lambda: conditions(self.cluster, GROUP, "gateways", "shop", "gate"))
        self.assertEqual(said["Accepted"], ("True", "Accepted"))
        self.assertEqual(said["Programmed"], ("False", "Pending"))

        def pods():
            return self.cluster.call("GET", f"{SHOP}/pods?labelSelector={GROUP}%2Fgateway-name%3Dgate")["items"]

        pod = eventually(pods, what="its pod")[0]["metadata"]["name"]
        self.cluster.call("PATCH", f"{SHOP}/pods/{pod}/status", {"status": {
            "phase": "Running", "podIP": "10.244.0.5", "podIPs": [{"ip": "10.244.0.5"}],
            "conditions": [{"type": "Ready", "status": "True"}]}}, "application/merge-patch+json")
        eventually(lambda: conditions(self.cluster, GROUP, "gateways", "shop", "gate").get("Programmed") ==
                   ("True", "Programmed"), 30)
        status = self.cluster.call("GET", GATEWAY)["status"]
        self.assertEqual(status["addresses"], [{"type": "IPAddress", "value": service["spec"]["clusterIP"]}])
        self.assertEqual(status["listeners"][0]["name"], "mesh")
        accepted = self.cluster.call("GET", f"/apis/{GROUP}/v1/gatewayclasses/weft-waypoint")
        self.assertEqual(accepted["spec"]["controllerName"], "weft.io/waypoint-controller")
        self.assertEqual(self.replica.errors(), "")

    def test_its_account_is_served_and_no_other(self):
        self.make()
        self.found(f"{SHOP}/serviceaccounts/gate")
        token = self.cluster.token("gate", "shop", audience="istio-ca")
        stream = self.replica.peer(token).stream().subscribe(ADDRESS)
        stream.wait(lambda: "shop/gate.shop.svc.cluster.local" in stream.of(ADDRESS))
        stream.close()
        self.assertTrue(self.replica.peer(token).certificate("spiffe://cluster.local/ns/shop/sa/gate"))
        with self.assertRaises(Refused) as refused:
            self.replica.peer(token).certificate("spiffe://cluster.local/ns/shop/sa/web")
        self.assertEqual(refused.exception.code, "PERMISSION_DENIED")
        other = self.cluster.token("web", "shop", audience="istio-ca")
        with self.assertRaises(Refused) as refused:
            stream = self.replica.peer(other).stream().subscribe(ADDRESS)
            stream.wait(lambda: stream.of(ADDRESS))
        self.assertIn("no waypoint", refused.exception.message)


if __name__ == "__main__":
    cluster.main("helm")
