"""Control on a cluster: who writes, who gets which certificate, and what it does on bad days."""

import base64
import concurrent.futures
import signal
import sys
import time
import unittest

import cluster
from cluster import Cluster
from control import NAMESPACE, Replica, conditions, missing, own_ca, pod, prepare
from grpc_peer import ADDRESS, AUTHORIZATION, Refused, csr
from processes import eventually

WEB = "spiffe://cluster.local/ns/shop/sa/web"
DATABASE = "spiffe://cluster.local/ns/shop/sa/database"
ROOTS = "/api/v1/namespaces/{}/configmaps/istio-ca-root-cert"
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/weft-ca"
MERGE = "application/merge-patch+json"


def policy(namespace, name, spec=None):
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec or {}}


class OnACluster(unittest.TestCase):
    """Two replicas on one cluster, a shop whose web runs on node-a and whose database on node-b."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.close)
        prepare(cls.cluster)
        for name in ("shop", "mallory"):
            cls.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": name, "labels": {"istio.io/dataplane-mode": "ambient", "team": name}}})
        for account in ("web", "database", "default"):
            cls.cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount",
                               "metadata": {"name": account, "namespace": "shop"}})
        cls.cluster.wait_account(NAMESPACE, "weft-ztunnel")
        pod(cls.cluster, "shop", "web", "node-a", "web", "10.244.0.5")
        pod(cls.cluster, "shop", "database", "node-b", "database", "10.244.1.5")
        for node, ip in (("node-a", "10.244.0.9"), ("node-b", "10.244.1.9")):
            pod(cls.cluster, NAMESPACE, f"ztunnel-{node}", node, "weft-ztunnel", ip)
        cls.replicas = [Replica(cls.cluster, number) for number in (0, 1)]

    def setUp(self):
        if not self.cluster.api_server.running():
            self.cluster.api_server.start()
        self.cluster.wait_ready()
        for replica in self.replicas:
            if not replica.process.running():
                replica.restart()
            replica.wait_ready()

    def ztunnel(self, node="node-a", **options):
        return self.cluster.token("weft-ztunnel", NAMESPACE, **{
            "audience": "istio-ca", "pod": f"ztunnel-{node}", **options})

    def leader(self):
        def one():
            found = [replica for replica in self.replicas if replica.process.running() and replica.leads()]
            return found[0] if len(found) == 1 else None
        return eventually(one, 25, "one leader")

    def refusal(self, token, identity, replica=None):
        with self.assertRaises(Refused) as refused:
            (replica or self.replicas[0]).peer(token).certificate(identity)
        return refused.exception

    def change(self, namespace="shop"):
        """Makes a pod; returns its name in xDS."""
        name = f"extra-{time.monotonic_ns()}"
        pod(self.cluster, namespace, name, "node-a", "default", "10.244.0.77")
        return f"Kubernetes//Pod/{namespace}/{name}"


class Certificates(OnACluster):
    def test_a_node_gets_what_it_runs_from_either_replica(self):
        token = self.ztunnel()
        roots = self.replicas[0].roots()
        self.assertEqual(roots, self.replicas[1].roots())
        for replica in self.replicas:
            chain = replica.peer(token).certificate(WEB)
            self.assertEqual(chain[-1], roots)
        issued = self.replicas[0].metric("citadel_server_success_cert_issuance_count")
        self.assertGreaterEqual(issued, 1)

    def test_a_compromised_node_gets_nothing_else(self):
        token = self.ztunnel("node-a")
        refused = self.refusal(token, DATABASE)
        self.assertEqual(refused.code, "PERMISSION_DENIED")
        self.assertIn("node-a does not run", refused.message)
        for identity in (f"spiffe://cluster.local/ns/{NAMESPACE}/sa/weft-control",
                         "spiffe://cluster.local/ns/kube-system/sa/default",
                         "spiffe://other.example/ns/shop/sa/web"):
            self.assertIn(self.refusal(token, identity).code, ("PERMISSION_DENIED", "INVALID_ARGUMENT"), identity)
        # A request for one identity whose key is bound to another one.
        with self.assertRaises(Refused) as refused:
            self.replicas[0].peer(token).certificate(WEB, csr(DATABASE))
        self.assertEqual(refused.exception.code, "INVALID_ARGUMENT")

    def test_a_workload_gets_its_own_and_no_other(self):
        token = self.cluster.token("web", "shop", audience="istio-ca", pod="web")
        self.assertTrue(self.replicas[0].peer(token).certificate(WEB))
        self.assertEqual(self.refusal(token, DATABASE).code, "PERMISSION_DENIED")
        with self.assertRaises(Refused) as refused:
            stream = self.replicas[0].peer(token).stream().subscribe(ADDRESS)
            stream.wait(lambda: stream.pushes)
        self.assertEqual(refused.exception.code, "PERMISSION_DENIED")

    def test_a_ztunnel_of_another_namespace_is_none(self):
        self.cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount",
                            "metadata": {"name": "weft-ztunnel", "namespace": "mallory"}})
        token = self.cluster.token("weft-ztunnel", "mallory", audience="istio-ca")
        self.assertEqual(self.refusal(token, WEB).code, "PERMISSION_DENIED")

    def test_tokens_that_are_not_good(self):
        good = self.ztunnel()
        claims = {"iss": "https://kubernetes.default.svc", "aud": ["istio-ca"],
                  "sub": f"system:serviceaccount:{NAMESPACE}:weft-ztunnel"}
        for what, token in {
                "none": None, "empty": "", "garbage": "x", "three parts": "a.b.c",
                "another audience": self.ztunnel(audience="vault"),
                "the API's": self.cluster.token("weft-ztunnel", NAMESPACE),
                "expired": self.cluster.pki.signed_token(claims, lifetime=-60),
                "not bound to anything": self.cluster.pki.signed_token(claims),
                "forged": good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB"),
                "huge": "a" * 20000}.items():
            self.assertEqual(self.refusal(token, WEB).code, "UNAUTHENTICATED", what)

    def test_a_deleted_ztunnels_token_is_refused_soon(self):
        pod(self.cluster, NAMESPACE, "ztunnel-short", "node-a", "weft-ztunnel", "10.244.0.99")
        token = self.cluster.token("weft-ztunnel", NAMESPACE, audience="istio-ca", pod="ztunnel-short")
        peer = self.replicas[0].peer(token)
        self.assertTrue(peer.certificate(WEB))
        self.cluster.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/ztunnel-short?gracePeriodSeconds=0")

        def refused():
            try:
                peer.certificate(WEB)
                return False
            except Refused as refusal:
                return refusal.code == "UNAUTHENTICATED"
        eventually(refused, 90, "the token refused", pause=2)


class Mesh(OnACluster):
    def test_streams_follow_and_statuses_are_written_once(self):
        streams = [replica.peer(self.ztunnel()).stream().subscribe(AUTHORIZATION).subscribe(ADDRESS)
                   for replica in self.replicas]
        name = self.change()
        for stream in streams:
            stream.wait(lambda: name in stream.of(ADDRESS))
        self.cluster.apply(policy("shop", "deny", {"action": "DENY", "rules": [{}]}))
        self.cluster.apply(policy("shop", "l7", {"rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}))
        for stream in streams:
            stream.wait(lambda: "shop/deny" in stream.of(AUTHORIZATION))
        eventually(lambda: conditions(self.cluster, "security.istio.io", "authorizationpolicies", "shop", "deny").get(
            "ZtunnelAccepted") == ("True", "Accepted"), what="accepted")
        eventually(lambda: conditions(self.cluster, "security.istio.io", "authorizationpolicies", "shop", "l7").get(
            "ZtunnelAccepted") == ("False", "UnsupportedValue"), what="not accepted")
        path = "/apis/security.istio.io/v1/namespaces/shop/authorizationpolicies/deny"
        version = self.cluster.call("GET", path)["metadata"]["resourceVersion"]
        another = self.change()  # something else happens: this status is left alone
        for stream in streams:
            stream.wait(lambda: another in stream.of(ADDRESS))
        self.assertEqual(self.cluster.call("GET", path)["metadata"]["resourceVersion"], version)
        self.assertEqual(sum(replica.metric("weft_control_statuses_written_total") > 0 for replica in self.replicas), 1)
        for stream in streams:
            stream.close()

    def test_both_replicas_say_the_same_of_service_entries(self):
        for number in range(20):
            self.cluster.call("POST", "/apis/networking.istio.io/v1/namespaces/shop/serviceentries", {
                "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": f"e{number}"},
                "spec": {"hosts": [f"h{number}.example"], "resolution": "DNS",
                         "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}})

        def hosts(replica):
            stream = replica.peer(self.ztunnel()).stream().subscribe(ADDRESS)
            stream.wait(lambda: sum(name.startswith("shop/h") for name in stream.of(ADDRESS)) == 20)
            stream.close()
            return {name: version for name, version in stream.of(ADDRESS).items() if name.startswith("shop/h")}
        before = [hosts(replica) for replica in self.replicas]
        self.assertEqual(before[0], before[1])
        self.replicas[1].process.kill()  # one that reads them all at once says the same
        self.replicas[1].restart().wait_ready()
        self.assertEqual(hosts(self.replicas[1]), before[0])

    def test_roots_are_in_every_namespace_and_come_back(self):
        roots = self.replicas[0].roots()

        def has(namespace, text=roots):
            return lambda: self.cluster.call("GET", ROOTS.format(namespace))["data"]["root-cert.pem"] == text
        for namespace in ("shop", "default", NAMESPACE):
            eventually(lambda: not missing(self.cluster, ROOTS.format(namespace)), what=namespace)
            eventually(has(namespace), what=namespace)
        self.assertTrue(missing(self.cluster, ROOTS.format("kube-system")))
        self.cluster.call("DELETE", ROOTS.format("shop"))
        eventually(lambda: not missing(self.cluster, ROOTS.format("shop")), what="the roots back")
        # Another control plane's, which took the key: left alone, and told.
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=pilot-discovery", "-f",
                             "-", input={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
                                 "name": "istio-ca-root-cert", "namespace": "default"},
                                         "data": {"root-cert.pem": "theirs"}})
        eventually(lambda: "another manager" in self.leader().errors(), what="told")
        self.assertTrue(has("default", "theirs")())
        self.cluster.call("DELETE", ROOTS.format("default"))
        eventually(lambda: not missing(self.cluster, ROOTS.format("default")), what="the roots back")

    def test_discovery_selectors_and_configuration_are_live(self):
        stream = self.replicas[0].peer(self.ztunnel()).stream().subscribe(ADDRESS)
        mine, others = self.change("shop"), self.change("mallory")
        stream.wait(lambda: mine in stream.of(ADDRESS) and others in stream.of(ADDRESS))
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/istio"
        try:
            self.cluster.call("PATCH", path, {"data": {
                "mesh": "discoverySelectors: [{matchLabels: {team: shop}}]"}}, MERGE)
            stream.wait(lambda: others not in stream.of(ADDRESS))
            self.assertIn(mine, stream.of(ADDRESS))
            # One that cannot be read changes nothing, and is told.
            self.cluster.call("PATCH", path, {"data": {"mesh": "discoverySelectors: [{matchLabel: {a: b}}]"}}, MERGE)
            eventually(lambda: "matchLabel" in self.replicas[0].errors(), what="the mistake told")
            self.assertNotIn(others, stream.of(ADDRESS))
        finally:
            self.cluster.call("PATCH", path, {"data": {"mesh": "{}"}}, MERGE)
        stream.wait(lambda: others in stream.of(ADDRESS))
        stream.close()

    def test_capture_is_announced_by_its_annotation_only(self):
        self.cluster.call("POST", "/api/v1/namespaces/shop/pods", {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late"},
            "spec": {"nodeName": "node-a", "containers": [{"name": "main", "image": "none"}]}})
        path = "/api/v1/namespaces/shop/pods/late"
        self.cluster.call("PATCH", path + "/status", {"status": {
            "phase": "Running", "podIP": "10.244.0.50", "podIPs": [{"ip": "10.244.0.50"}]}}, MERGE)
        stream = self.replicas[0].peer(self.ztunnel()).stream().subscribe(ADDRESS)
        name = "Kubernetes//Pod/shop/late"
        stream.wait(lambda: name in stream.of(ADDRESS))
        before = stream.of(ADDRESS)[name]
        self.cluster.call("PATCH", path, {"metadata": {"annotations": {
            "ambient.istio.io/redirection": "enabled"}}}, MERGE)
        stream.wait(lambda: stream.of(ADDRESS).get(name) != before)
        stream.close()


class BadDays(OnACluster):
    def test_a_killed_leaders_place_is_taken(self):
        leader = self.leader()
        other = next(replica for replica in self.replicas if replica is not leader)
        began = time.monotonic()
        leader.process.kill()
        eventually(other.leads, 20, "the other replica leads")
        print(f"takeover after kill -9: {time.monotonic() - began:.1f} s", file=sys.stderr)
        self.cluster.apply(policy("shop", "after", {}))
        eventually(lambda: conditions(self.cluster, "security.istio.io", "authorizationpolicies", "shop", "after"),
                   what="a status")

    def test_an_ending_leader_gives_its_place_and_its_nodes_away(self):
        leader = self.leader()
        other = next(replica for replica in self.replicas if replica is not leader)
        stream = leader.peer(self.ztunnel()).stream().subscribe(ADDRESS)
        stream.wait(lambda: stream.pushes)
        began = time.monotonic()
        leader.process.signal(signal.SIGTERM)
        eventually(other.leads, 5, "the other replica leads")
        print(f"takeover after SIGTERM: {time.monotonic() - began:.1f} s", file=sys.stderr)
        self.assertFalse(leader.is_ready())
        with self.assertRaises(Refused) as ended:
            stream.wait(lambda: False, 10)
        self.assertEqual(ended.exception.code, "UNAVAILABLE")
        self.assertEqual(leader.process.stop(), 0)
        self.assertTrue(other.peer(self.ztunnel()).certificate(WEB))

    def test_api_server_away(self):
        known, never_seen = self.ztunnel(), self.ztunnel("node-b")
        streams = [replica.peer(known).stream().subscribe(ADDRESS) for replica in self.replicas]
        for stream, replica in zip(streams, self.replicas):
            stream.wait(lambda: stream.pushes)
            self.assertTrue(replica.peer(known).certificate(WEB))
        self.cluster.api_server.kill()
        eventually(lambda: not any(replica.leads() for replica in self.replicas), 20, "nobody leads")
        for replica in self.replicas:
            self.assertTrue(replica.peer(known).certificate(WEB))
            self.assertEqual(self.refusal(never_seen, DATABASE, replica).code, "UNAVAILABLE")
            self.assertTrue(replica.is_ready())
        self.assertTrue(all(stream.status is None for stream in streams))
        self.cluster.api_server.start()
        self.cluster.wait_ready()
        name = self.change()
        for stream in streams:
            stream.wait(lambda: name in stream.of(ADDRESS), 60)
            stream.close()
        self.assertTrue(self.replicas[0].peer(never_seen).certificate(DATABASE))
        self.leader()

    def test_api_server_hangs(self):
        known = self.ztunnel()
        for replica in self.replicas:
            self.assertTrue(replica.peer(known).certificate(WEB))
        self.cluster.api_server.pause()
        try:
            eventually(lambda: not any(replica.leads() for replica in self.replicas), 20, "nobody leads")
            for replica in self.replicas:
                began = time.monotonic()
                self.assertTrue(replica.peer(known).certificate(WEB))
                self.assertLess(time.monotonic() - began, 8)
            self.assertEqual(self.replicas[1].process.stop(10), 0, "it ends, whatever it waits for")
        finally:
            self.cluster.api_server.resume()
        self.cluster.wait_ready()
        self.leader()

    def test_a_lost_secret_is_told_and_not_replaced(self):
        secret = self.cluster.call("GET", SECRET)
        roots = self.replicas[0].roots()
        self.cluster.call("DELETE", SECRET)
        try:
            for replica in self.replicas:
                eventually(lambda: "weft-ca is gone" in replica.errors(), what="told")
                self.assertTrue(replica.peer(self.ztunnel()).certificate(WEB))
            for replica in self.replicas:
                replica.process.kill()
            for replica in self.replicas:
                replica.restart()
            leader = self.leader()
            eventually(lambda: "restore it from a backup" in leader.errors(), what="told")
            self.assertEqual(leader.get(leader.probe_port, "/ready"), (503, "waiting for the CA's Secret\n"))
            self.assertTrue(missing(self.cluster, SECRET))
        finally:
            for field in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
                secret["metadata"].pop(field, None)
            self.cluster.call("POST", SECRET.rsplit("/", 1)[0], secret)
        for replica in self.replicas:
            replica.wait_ready()
            self.assertEqual(replica.roots(), roots)

    def test_no_key_is_logged_or_on_disk(self):
        key = base64.b64decode(self.cluster.call("GET", SECRET)["data"]["ca-key.pem"]).decode()
        line = key.splitlines()[1]
        for replica in self.replicas:
            self.assertNotIn(line, replica.process.text())
            self.assertNotIn("PRIVATE", replica.process.text())
            for file in replica.folder.rglob("*"):
                if file.is_file():
                    self.assertNotIn(line, file.read_text(errors="replace"), file)

    def test_five_thousand_hostile_objects(self):
        stream = self.replicas[0].peer(self.ztunnel()).stream().subscribe(AUTHORIZATION).subscribe(ADDRESS)
        stream.wait(lambda: stream.of(ADDRESS))
        specs = ({"action": "DENY", "rules": [{"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]}]},
                 {"action": "EXPLODE"}, {"rules": "none"}, {"selector": {"matchLabels": {"app": "x" * 300}}},
                 {"rules": [{"from": [{"source": {"principals": ["*" * 200] * 50}}]}]})
        path = "/apis/security.istio.io/v1/namespaces/mallory/authorizationpolicies"
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: self.cluster.call("POST", path, policy("mallory", f"p{n}", specs[n % 5])),
                          range(5000)))
        print(f"5 000 objects made in {time.monotonic() - began:.0f} s", file=sys.stderr)
        began = time.monotonic()
        name = self.change()
        stream.wait(lambda: name in stream.of(ADDRESS), 30)
        print(f"a tenant's change behind them: {time.monotonic() - began:.2f} s; "
              f"{self.replicas[0].resident_mib():.0f} MiB", file=sys.stderr)
        self.assertTrue(self.replicas[0].peer(self.ztunnel()).certificate(WEB))
        self.assertLess(self.replicas[0].resident_mib(), 400)
        for replica in self.replicas:
            self.assertTrue(replica.is_ready())
        self.cluster.call("DELETE", path)
        stream.wait(lambda: not any("mallory/" in name for name in stream.of(AUTHORIZATION)), 120)
        stream.close()


class OwnAuthority(unittest.TestCase):
    """An operator's CA, and a revision beside another control plane."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.close)
        prepare(cls.cluster, NAMESPACE, "revision=canary")
        cls.root, secret = own_ca(cls.cluster.folder, NAMESPACE)
        cls.cluster.apply(secret)
        cls.replica = Replica(cls.cluster, 0, "--ca-secret=cacerts", "--revision=canary").wait_ready()

    def setUp(self):
        if not hasattr(OwnAuthority, "token"):
            self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": "shop", "labels": {"istio.io/dataplane-mode": "ambient"}}})
            self.cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount",
                                "metadata": {"name": "web", "namespace": "shop"}})
            pod(self.cluster, "shop", "web", "node-a", "web", "10.244.0.5")
            pod(self.cluster, NAMESPACE, "ztunnel", "node-a", "weft-ztunnel", "10.244.0.9")
            OwnAuthority.token = self.cluster.token("weft-ztunnel", NAMESPACE, audience="istio-ca", pod="ztunnel")

    def test_it_signs_and_its_root_is_rotated(self):
        def has(*roots):
            text = self.replica.roots()
            return text.count("BEGIN CERTIFICATE") == len(roots) and all(root.strip() in text for root in roots)

        def write(**files):
            encoded = {name.replace("_", "-") + ".pem": base64.b64encode(text.encode()).decode()
                       for name, text in files.items()}
            self.cluster.call("PATCH", f"/api/v1/namespaces/{NAMESPACE}/secrets/cacerts", {"data": encoded}, MERGE)
        self.assertTrue(has(self.root))
        self.assertTrue(missing(self.cluster, SECRET))
        folder = self.cluster.folder / "next"
        folder.mkdir()
        root, secret = own_ca(folder, NAMESPACE)
        files = {name.removesuffix(".pem").replace("-", "_"): text for name, text in secret["stringData"].items()}
        # All at once would cut everybody off: it is told and not done.
        write(**files)
        eventually(lambda: "none of its roots" in self.replica.errors(), what="told")
        self.assertTrue(has(self.root))
        both = self.root + root
        before = self.cluster.folder / "own-ca.key"
        write(ca_key=before.read_text(), ca_cert=self.root, cert_chain=self.root, root_cert=both)
        eventually(lambda: has(self.root, root), what="both roots")
        write(**{**files, "root_cert": both})
        eventually(lambda: self.replica.roots().strip().startswith(root.strip()), what="the new root signs")
        self.assertEqual(self.replica.peer(self.token).certificate(WEB)[-1].count("BEGIN CERTIFICATE"), 2)
        write(**files)
        eventually(lambda: has(root), what="the new root only")
        eventually(lambda: self.replica.peer(self.token).certificate(WEB), what="served with the new root")

    def test_only_objects_of_the_revision_count(self):
        theirs, ours = policy("default", "theirs"), policy("default", "ours")
        ours["metadata"]["labels"] = {"istio.io/rev": "canary"}
        self.cluster.apply([theirs, ours])
        stream = self.replica.peer(self.token).stream().subscribe(AUTHORIZATION)
        stream.wait(lambda: "default/ours" in stream.of(AUTHORIZATION))
        self.assertNotIn("default/theirs", stream.of(AUTHORIZATION))
        eventually(lambda: conditions(self.cluster, "security.istio.io", "authorizationpolicies", "default", "ours"),
                   what="a status")
        self.assertFalse(conditions(self.cluster, "security.istio.io", "authorizationpolicies", "default", "theirs"))
        self.assertTrue(missing(self.cluster, ROOTS.format("default")))
        stream.close()


class AnotherAuthority(unittest.TestCase):
    """Certificates are another server's (istio-csr), control's own among them."""

    def test_control_signs_nothing_and_serves(self):
        with Cluster() as it:
            prepare(it)
            folder = it.folder / "serving"
            folder.mkdir()
            certificate, key = it.pki.issue("serving", "/CN=control", f"DNS:weft-control.{NAMESPACE}.svc")
            (folder / "tls.crt").write_text(certificate.read_text())
            (folder / "tls.key").write_text(key.read_text())
            replica = Replica(it, 0, f"--serving-cert={folder}").wait_ready()
            pod(it, NAMESPACE, "ztunnel", "node-a", "weft-ztunnel", "10.244.0.9")
            token = it.token("weft-ztunnel", NAMESPACE, audience="istio-ca", pod="ztunnel")
            peer = replica.peer(token, it.pki.ca.read_text())
            stream = peer.stream().subscribe(ADDRESS)
            stream.wait(lambda: f"Kubernetes//Pod/{NAMESPACE}/ztunnel" in stream.of(ADDRESS))
            stream.close()
            with self.assertRaises(Refused) as refused:
                peer.certificate(WEB)
            self.assertEqual(refused.exception.code, "UNIMPLEMENTED")
            eventually(replica.leads, what="leads")
            self.assertTrue(missing(it, SECRET))
            self.assertTrue(missing(it, ROOTS.format("default")))


if __name__ == "__main__":
    cluster.main("helm")
