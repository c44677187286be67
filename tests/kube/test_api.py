"""The API client (agent/source/kube) against the real API server: after whatever happens, what it mirrors is
exactly what the server has."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import socket
import unittest

from cluster import Cluster, main
from processes import eventually

BIN = pathlib.Path(os.environ.get("WEFT_BIN", "build/dev/bin"))
MANY = 5000
GROUP = "security.istio.io"
POLICIES = f"/apis/{GROUP}/v1/namespaces/default/authorizationpolicies"


class Mirror:
    """The program kube_mirror in a cluster, and what it says of itself."""

    def __init__(self, cluster, name, *flags, env=None):
        self.socket = cluster.folder / f"{name}.sock"
        self.process = cluster.start(name, [BIN / "kube_mirror", "--socket", self.socket, *flags], env=env)

    def ask(self, path, body=None):
        connection = http.client.HTTPConnection("mirror")
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            connection.sock.connect(str(self.socket))
            connection.request("GET" if body is None else "POST", path, json.dumps(body) if body is not None else None)
            return connection.getresponse().read().decode()

    def facts(self):
        try:
            return json.loads(self.ask("/facts"))
        except OSError as problem:
            raise AssertionError(f"{problem}; {self.process.text()[-2000:]}") from problem

    def objects(self, kind):
        """What it has of a kind: names (with the namespace) -> the object."""
        found = {}
        for line in self.ask("/objects").splitlines():
            one = json.loads(line)
            if one["object"]["kind"] == kind:
                found[one["key"].split("/", 1)[1]] = one["object"]
        return found

    def wait_first(self, within=60):
        eventually(lambda: self.facts()["batches"] > 0, within, "the first batch")


def gist(one):
    """Of an object, what the mirror must have as the server has it."""
    meta, spec, status = one["metadata"], one.get("spec") or {}, one.get("status") or {}
    gist = [meta.get("uid"), meta.get("labels") or {}]
    if "containers" in spec:
        gist += [spec.get("nodeName"), spec.get("serviceAccountName"), status.get("phase"), status.get("podIP")]
    if "clusterIP" in spec:
        gist += [spec["clusterIP"], [port["port"] for port in spec["ports"]]]
    return gist


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(users={"reader": (), "agent": ()}).__enter__()
        cls.addClassCleanup(cls.cluster.close)

    def call(self, *arguments, **options):
        return self.cluster.call(*arguments, **options)

    def mirror(self, *flags, env=None):
        """A mirror for this test, as administrator where no flags say otherwise."""
        self.mirrors = getattr(self, "mirrors", 0) + 1
        mirror = Mirror(self.cluster, f"{self.id().rsplit('.')[-1][:40]}-{self.mirrors}",
                        *(flags or ("--kubeconfig", self.cluster.admin)), env=env)
        self.addCleanup(mirror.process.kill)
        return mirror

    def make_pods(self, names, node=None):
        def make(name):
            spec = {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "name": "http"}]}],
                    "terminationGracePeriodSeconds": 0}
            if node:
                spec["nodeName"] = node
            self.call("POST", "/api/v1/namespaces/default/pods",
                      {"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(make, names))

    def delete_pods(self, names):
        for name in names:
            self.call("DELETE", f"/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0")

    def install_crd(self, plural="authorizationpolicies", kind="AuthorizationPolicy", group=GROUP):
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        self.cluster.apply({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
                     "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema,
                                   "subresources": {"status": {}}}]}})
        self.cluster.kubectl("wait", "--for=condition=established", f"crd/{plural}.{group}")

    def make_policy(self, name, spec=None):
        return self.call("POST", POLICIES, {"apiVersion": f"{GROUP}/v1", "kind": "AuthorizationPolicy",
                                            "metadata": {"name": name}, "spec": spec or {}})

    def restart(self):
        self.cluster.api_server.kill()
        self.cluster.api_server.start()
        self.cluster.wait_ready()

    def has_it_all(self, mirror, kinds=(("Pod", "/api/v1/pods"), ("Service", "/api/v1/services"),
                                        ("Namespace", "/api/v1/namespaces"))):
        for kind, path in kinds:
            there = {}
            for one in self.call("GET", path)["items"]:
                meta = one["metadata"]
                there["/".join(filter(None, (meta.get("namespace"), meta["name"])))] = gist(one)
            if {name: gist(one) for name, one in mirror.objects(kind).items()} != there:
                return False
        return True

    def assert_catches_up(self, mirror, within=30):
        eventually(lambda: self.has_it_all(mirror), within, "the mirror to have all that the server has", pause=0.3)


class Mirroring(Case):
    def test_many_pods_in_pages_then_their_changes(self):
        self.make_pods(f"p{i}" for i in range(MANY))
        mirror = self.mirror()
        mirror.wait_first()
        self.assertGreaterEqual(mirror.facts()["first"], MANY)
        self.assertTrue(self.has_it_all(mirror))
        self.call("PATCH", "/api/v1/namespaces/default/pods/p7/status",
                  {"status": {"podIP": "10.244.0.7", "podIPs": [{"ip": "10.244.0.7"}], "phase": "Running"}},
                  content="application/merge-patch+json")
        self.delete_pods(["p8"])
        self.make_pods(["fresh"], node="n1")
        self.assert_catches_up(mirror)
        facts = mirror.facts()
        self.assertEqual(facts["lists"]["pods"], 1, "every change came by the watch")
        self.assertEqual(facts["errors"], [])
        # Nothing that is read changes: nobody is told.
        self.call("PATCH", "/api/v1/namespaces/default/pods/p9", {"metadata": {"annotations": {"note": "x" * 1000}}},
                  content="application/merge-patch+json")
        self.make_pods(["last"])
        self.assert_catches_up(mirror)
        self.assertEqual(mirror.facts()["changes"], facts["changes"] + 1)

    def test_api_server_killed_and_restarted(self):
        self.make_pods(f"r{i}" for i in range(50))
        mirror = self.mirror()
        mirror.wait_first()
        for restart in range(2):
            self.restart()
            self.make_pods([f"after-{restart}"])
            self.delete_pods([f"r{restart}"])
            self.assert_catches_up(mirror)
        self.assertEqual(mirror.process.stop(), 0)

    def test_etcd_compacted_while_nobody_looked(self):
        self.make_pods(f"c{i}" for i in range(50))
        mirror = self.mirror()
        mirror.wait_first()
        before = mirror.facts()["lists"]["pods"]
        mirror.process.pause()
        self.restart()  # or what follows would wait in its socket
        self.delete_pods([f"c{i}" for i in range(10)])
        self.make_pods([f"q{i}" for i in range(10)])
        self.delete_pods(["c20"])
        self.make_pods(["c20"])  # the same name, another pod
        self.cluster.compact()
        self.restart()
        mirror.process.resume()
        self.assert_catches_up(mirror)
        self.assertGreater(mirror.facts()["lists"]["pods"], before, "410: only a list can close the gap")

    def test_slow_api_server(self):
        mirror = self.mirror()
        mirror.wait_first()
        self.cluster.api_server.pause()
        with self.assertRaises(AssertionError):
            eventually(lambda: mirror.facts()["errors"], 2, "an error that must not come")
        self.cluster.api_server.resume()
        self.make_pods(["slow"])
        self.assert_catches_up(mirror)
        self.assertEqual(mirror.facts()["lists"]["pods"], 1)

    def test_node_mirrors_its_own_pods_with_few_rights(self):
        self.cluster.apply([
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "agent"},
             "rules": [{"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["list", "watch"]},
                       {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]}]},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "agent"},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agent"},
             "subjects": [{"kind": "User", "name": "agent"}]}])
        self.make_pods(["here"], node="own")
        self.make_pods(["there"], node="other")
        config = self.cluster.kubeconfig("agent", token=self.cluster.token_of("agent"))
        mirror = self.mirror("--kubeconfig", config, "--node", "own")
        mirror.wait_first()
        self.assertEqual(list(mirror.objects("Pod")), ["default/here"])
        self.make_pods(["here-too"], node="own")
        eventually(lambda: "default/here-too" in mirror.objects("Pod"))
        self.assertIn("default", mirror.objects("Namespace"))
        uid = mirror.objects("Pod")["default/here"]["metadata"]["uid"]
        self.assertEqual(mirror.ask("/annotate", {"namespace": "default", "name": "here", "uid": uid,
                                                  "key": "ambient.istio.io/redirection", "value": "enabled"}), "done")
        self.assertEqual(mirror.facts()["errors"], [])


class Credentials(Case):
    def test_nothing_is_told_until_everything_may_be_read(self):
        config = self.cluster.kubeconfig("reader", token=self.cluster.token_of("reader"))
        mirror = self.mirror("--kubeconfig", config)
        errors = eventually(lambda: [e for e in mirror.facts()["errors"] if "/api/v1/pods" in e])
        self.assertIn("403 Forbidden", errors[0])
        self.assertIn("RBAC", errors[0])
        self.assertEqual(mirror.facts()["batches"], 0)
        self.cluster.kubectl("create", "clusterrolebinding", "reader", "--clusterrole=cluster-admin", "--user=reader")
        mirror.wait_first()
        self.assertTrue(self.has_it_all(mirror))

    def test_token_that_is_refused_is_read_again(self):
        self.make_pods(["holder", "other"])
        self.cluster.kubectl("create", "clusterrolebinding", "default", "--clusterrole=cluster-admin",
                             "--serviceaccount=default:default")
        folder = self.cluster.account_folder("default", pod="holder")
        env = {**os.environ, "KUBERNETES_SERVICE_HOST": "172.30.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
        mirror = self.mirror("--in-cluster", folder, env=env)
        mirror.wait_first()
        fresh = self.cluster.token("default", pod="other")
        self.delete_pods(["holder"])  # and with it, the token that is bound to it
        eventually(lambda: "default/holder" not in mirror.objects("Pod"))
        self.restart()
        eventually(lambda: any("401" in error for error in mirror.facts()["errors"]), 60, "a refusal")
        (folder / "token").write_text(fresh)
        self.make_pods(["later"])
        self.assert_catches_up(mirror)

    def test_server_with_another_certificate_is_refused(self):
        told = json.loads(pathlib.Path(self.cluster.admin).read_text())
        told["clusters"][0]["cluster"]["tls-server-name"] = "elsewhere"
        config = self.cluster.folder / "elsewhere.conf"
        config.write_text(json.dumps(told))
        mirror = self.mirror("--kubeconfig", config)
        error = eventually(lambda: mirror.facts()["errors"])[0]
        self.assertIn("elsewhere", error)
        self.assertIn("does not verify", error)


class CustomResources(Case):
    def test_crd_that_comes_later_and_goes(self):
        self.cluster.kubectl("delete", "crd", "--ignore-not-found", f"authorizationpolicies.{GROUP}")
        mirror = self.mirror()
        mirror.wait_first()
        self.assertEqual(mirror.objects("AuthorizationPolicy"), {})
        self.install_crd()
        self.make_policy("first")
        eventually(lambda: "default/first" in mirror.objects("AuthorizationPolicy"), 10, "the policy of a new CRD")
        self.make_policy("second")
        eventually(lambda: len(mirror.objects("AuthorizationPolicy")) == 2)
        self.cluster.kubectl("delete", "crd", f"authorizationpolicies.{GROUP}")
        eventually(lambda: mirror.objects("AuthorizationPolicy") == {}, 10, "no policy without its CRD")
        self.install_crd()
        self.make_policy("third")
        eventually(lambda: list(mirror.objects("AuthorizationPolicy")) == ["default/third"], 30, "the CRD again")
        self.assertEqual(mirror.facts()["errors"], [])

    def test_policy_that_cannot_be_read(self):
        self.install_crd()
        self.make_policy("good", {"action": "DENY", "rules": [{}]})
        self.make_policy("never-good", {"action": "ALLOW", "rulez": []})
        mirror = self.mirror()
        mirror.wait_first()
        policies = mirror.objects("AuthorizationPolicy")
        self.assertEqual(policies["default/never-good"]["spec"]["action"], "DENY", "the strictest stands in")
        self.assertIn("AuthorizationPolicy/default/never-good: spec.rulez: unknown field", mirror.facts()["errors"][0])
        path = f"{POLICIES}/good"
        self.call("PATCH", path, {"spec": {"rulez": []}}, content="application/merge-patch+json")
        eventually(lambda: any("AuthorizationPolicy/default/good: spec.rulez" in error
                               for error in mirror.facts()["errors"]))
        self.assertEqual(mirror.objects("AuthorizationPolicy")["default/good"]["spec"]["action"], "DENY",
                         "the last good version stays")
        self.call("PATCH", path, {"metadata": {"labels": {"a": "b"}}, "spec": {"rulez": None, "action": "AUDIT"}},
                  content="application/merge-patch+json")
        eventually(lambda: mirror.objects("AuthorizationPolicy")["default/good"]["spec"]["action"] == "AUDIT")

    def test_status_is_written_only_on_change(self):
        self.install_crd()
        self.make_policy("p")
        mirror = self.mirror()
        mirror.wait_first()

        def write(status, reason):
            said = {"kind": "AuthorizationPolicy", "namespace": "default", "name": "p", "status": status,
                    "reason": reason}
            self.assertEqual(mirror.ask("/status", said), "queued")

        def condition():
            return self.call("GET", f"{POLICIES}/p").get("status", {}).get("conditions", [None])[0]

        write("True", "Accepted")
        first = eventually(condition)
        self.assertEqual((first["type"], first["status"], first["reason"], str(first["observedGeneration"])),
                         ("ZtunnelAccepted", "True", "Accepted", "1"))
        fields = self.cluster.get("authorizationpolicy", "p", "--show-managed-fields")["metadata"]["managedFields"]
        self.assertIn(("weft", "Apply", "status"),
                      [(one["manager"], one["operation"], one.get("subresource")) for one in fields])
        version = self.call("GET", f"{POLICIES}/p")["metadata"]["resourceVersion"]
        write("True", "Accepted")
        write("True", "AcceptedAnew")
        eventually(lambda: condition()["reason"] == "AcceptedAnew")
        self.assertEqual(condition()["lastTransitionTime"], first["lastTransitionTime"])
        self.assertEqual(mirror.facts()["statuses"], 2)
        self.assertNotEqual(self.call("GET", f"{POLICIES}/p")["metadata"]["resourceVersion"], version)
        # Another process finds it as it wants it.
        other = self.mirror()
        other.wait_first()
        other.ask("/status", {"kind": "AuthorizationPolicy", "namespace": "default", "name": "p", "status": "True",
                              "reason": "AcceptedAnew"})
        other.ask("/status", {"kind": "AuthorizationPolicy", "namespace": "default", "name": "gone", "status": "True",
                              "reason": "Accepted"})
        self.make_policy("q")
        eventually(lambda: "default/q" in other.objects("AuthorizationPolicy"))
        self.assertEqual(other.facts()["statuses"], 0)
        self.assertEqual(other.facts()["changes"], other.facts()["first"] + 1, "a status is no change")


class Annotations(Case):
    def test_annotation_is_for_one_pod_and_not_for_its_successor(self):
        self.make_pods(["p"], node="n1")
        mirror = self.mirror()
        mirror.wait_first()
        path = "/api/v1/namespaces/default/pods/p"
        key = "ambient.istio.io/redirection"
        before = self.call("GET", path)["metadata"]

        def annotate(uid, value, name="p"):
            return mirror.ask("/annotate", {"namespace": "default", "name": name, "uid": uid, "key": key,
                                            "value": value})

        self.assertEqual(annotate(before["uid"], "enabled"), "done")
        self.assertEqual(self.call("GET", path)["metadata"]["annotations"][key], "enabled")
        eventually(lambda: mirror.objects("Pod")["default/p"]["metadata"]["annotations"].get(key) == "enabled")
        refused = annotate("00000000-0000-0000-0000-000000000000", "")
        self.assertIn("another pod has this name", refused)
        self.assertEqual(self.call("GET", path)["metadata"]["annotations"][key], "enabled")
        self.assertEqual(annotate(before["uid"], ""), "done")
        self.assertNotIn(key, self.call("GET", path)["metadata"].get("annotations", {}))
        self.assertIn("404", annotate(before["uid"], "enabled", name="nobody"))


if __name__ == "__main__":
    main()
