"""The Helm chart against a real API server: what it makes, who may do what, upgrade, rollback, uninstall."""

import json
import subprocess
import unittest

import cluster
import release
from cluster import HERE, KUBERNETES, ApiError, Cluster
from processes import eventually
from release import BIN, CHART, NAMESPACE, RELEASE

PLATFORMS = ("gke", "eks", "aks", "openshift", "k3s", "k3d", "kind", "minikube", "microk8s")
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
       "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "none"}]}}


class ChartTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(users={"mallory": ()}).__enter__()
        cls.addClassCleanup(cls.cluster.close)

    @classmethod
    def helm(cls, *arguments, **options):
        return release.helm(cls.cluster, *arguments, **options)

    @classmethod
    def install(cls, *values, verb="install"):
        return release.install(cls.cluster, *values, verb=verb)

    def may(self, account, verb, resource, namespace=NAMESPACE, name=None, group="", sub=None):
        attributes = {"verb": verb, "resource": resource, "group": group, "namespace": namespace}
        attributes |= {"name": name} if name else {}
        attributes |= {"subresource": sub} if sub else {}
        review = self.cluster.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": f"system:serviceaccount:{NAMESPACE}:{account}", "groups": ["system:serviceaccounts"],
                     "resourceAttributes": attributes}})
        return review["status"]["allowed"]


class Rendered(ChartTest):
    def test_lint_and_dry_run_on_every_platform(self):
        lint = self.helm("lint", "--strict", CHART)
        self.assertIn("0 chart(s) failed", lint)
        everything = ("networkPolicies.enabled=true", "control.autoscaling.enabled=true")
        for platform in ("", *PLATFORMS):
            flags = [word for value in (f"platform={platform}", *everything) for word in ("--set", value)]
            done = self.helm("install", "weft", CHART, "-n", "default", "--dry-run=server", *flags, check=False)
            self.assertEqual(done.returncode, 0, f"{platform}: {done.stderr}")
            manifest = done.stdout.split("MANIFEST:\n", 1)[1].split("\nNOTES:", 1)[0]
            applied = self.cluster.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict",
                                           "-n", "default", "-f", "-", input=manifest, check=False)
            refused = [line for line in applied.stderr.splitlines() if "unrecognized format" not in line]
            self.assertEqual((applied.returncode, refused), (0, []), platform)

    def test_misspelled_values_are_refused_with_their_path(self):
        for value, reason in (("controll.replicas=2", "controll"), ("control.replica=2", "replica"),
                              ("platform=gcp", "/platform"), ("control.replicas=none", "/control/replicas"),
                              ("image.registry=a/", "/image/registry")):
            done = self.helm("install", "weft", CHART, "-n", NAMESPACE, "--dry-run=client", "--set", value, check=False)
            self.assertNotEqual(done.returncode, 0, value)
            self.assertIn(reason, done.stderr)

    def test_what_platforms_differ_in(self):
        def rendered(platform):
            return self.helm("template", "weft", CHART, "-n", NAMESPACE, "--kube-version", "1.36.0",
                             "--set", f"platform={platform},crds.install=false")
        self.assertIn("path: /home/kubernetes/bin", rendered("gke"))
        self.assertIn("kind: ResourceQuota", rendered("gke"))
        self.assertNotIn("kind: ResourceQuota", rendered("eks"))
        self.assertIn("type: spc_t", rendered("openshift"))
        self.assertIn("securitycontextconstraints", rendered("openshift"))
        self.assertIn("path: /var/lib/rancher/k3s/agent/etc/cni/net.d", rendered("k3s"))
        self.assertIn("mountPath: /var/run/docker/netns", rendered("minikube"))
        self.assertIn("path: /var/snap/microk8s/current/opt/cni/bin", rendered("microk8s"))


class Installed(ChartTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.notes = cls.install()

    def test_notes_say_what_to_do_next(self):
        self.assertIn("kubectl label namespace default istio.io/dataplane-mode=ambient", self.notes)

    def test_workloads_are_made(self):
        def names(kind):
            return {item["metadata"]["name"] for item in self.cluster.get(kind, "-n", NAMESPACE)["items"]}
        self.assertEqual(names("daemonset"), {"weft-agent", "weft-ztunnel"})
        self.assertEqual(names("deployment"), {"weft-control"})
        self.assertEqual(names("poddisruptionbudget"), {"weft-control"})
        # The controllers make the pods: nothing of a pod's template is refused.
        control = "app.kubernetes.io/name=weft-control"
        eventually(lambda: len(self.cluster.get("pods", "-n", NAMESPACE, "-l", control)["items"]) == 2,
                   what="two pods of control")
        ztunnel = self.cluster.get("daemonset", "weft-ztunnel", "-n", NAMESPACE)["spec"]["template"]["spec"]
        container = ztunnel["containers"][0]
        self.assertFalse(container["securityContext"]["privileged"])
        self.assertNotIn("hostNetwork", ztunnel)
        self.assertFalse(ztunnel["automountServiceAccountToken"])

    def test_least_privilege(self):
        may = self.may
        self.assertTrue(may("weft-control", "list", "pods", "default"))
        self.assertTrue(may("weft-control", "patch", "authorizationpolicies", "default", "a", "security.istio.io", "status"))
        self.assertTrue(may("weft-control", "create", "tokenreviews", "", group="authentication.k8s.io"))
        self.assertTrue(may("weft-control", "patch", "configmaps", "default", "istio-ca-root-cert"))
        self.assertTrue(may("weft-control", "get", "secrets", NAMESPACE, "cacerts"))
        self.assertTrue(may("weft-agent", "patch", "pods", "default", "a", sub="status"))
        self.assertTrue(may("weft-agent", "watch", "namespaces", ""))
        self.assertTrue(may("weft-control", "patch", "secrets", NAMESPACE, "weft-ca"))
        for refused in (("weft-control", "get", "secrets", NAMESPACE, "another"),
                        ("weft-control", "patch", "secrets", NAMESPACE, "cacerts"),
                        ("weft-control", "list", "secrets", NAMESPACE),
                        ("weft-control", "get", "secrets", "default", "cacerts"),
                        ("weft-control", "patch", "configmaps", "default", "another"),
                        ("weft-control", "delete", "pods", "default"),
                        ("weft-control", "patch", "authorizationpolicies", "default", "a", "security.istio.io"),
                        ("weft-control", "create", "pods", NAMESPACE),
                        ("weft-agent", "patch", "pods", "default", "a"),
                        ("weft-agent", "get", "secrets", NAMESPACE, "cacerts"),
                        ("weft-agent", "get", "nodes", ""),
                        ("weft-agent", "list", "configmaps", NAMESPACE),
                        ("weft-ztunnel", "get", "pods", NAMESPACE), ("weft-ztunnel", "list", "namespaces", "")):
            self.assertFalse(may(*refused), refused)

    def test_agent_changes_one_annotation_of_its_own_nodes_pods(self):
        self.cluster.apply(POD)
        agent = {"metadata": {"name": "agent", "namespace": NAMESPACE}, "apiVersion": "v1", "kind": "Pod",
                 "spec": {**POD["spec"], "serviceAccountName": "weft-agent"}}
        other = json.loads(json.dumps(agent).replace("node-1", "node-2").replace('"agent"', '"agent-2"'))
        self.cluster.kubectl("create", "-f", "-", input={"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}})
        self.cluster.kubectl("create", "-f", "-", input={"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}})
        self.cluster.apply(agent)
        self.cluster.apply(other)

        tokens = {pod: self.cluster.token("weft-agent", NAMESPACE, pod=pod) for pod in ("agent", "agent-2")}

        def patch(pod, body):
            """What the API server answers, in words; "" where it takes the patch."""
            done = subprocess.run(self.cluster.enter(
                "curl", "-sS", "--cacert", self.cluster.pki.ca, "-X", "PATCH", "--data", json.dumps(body),
                "-H", "Content-Type: application/merge-patch+json", "-H", f"Authorization: Bearer {tokens[pod]}",
                f"https://{cluster.ADDRESS}:{cluster.PORT}/api/v1/namespaces/default/pods/web/status"),
                capture_output=True, text=True, timeout=60)
            answer = json.loads(done.stdout)
            return answer["message"] if answer["kind"] == "Status" else ""
        captured = {"metadata": {"annotations": {"ambient.istio.io/redirection": "enabled"}}}
        # The policy is in force a moment after it was made.
        eventually(lambda: patch("agent-2", captured) != "", what="the admission policy in force")
        self.assertIn("only pods of its own node", patch("agent-2", captured))
        self.assertEqual(patch("agent", captured), "")
        for body in ({"metadata": {"annotations": {"other": "x"}}}, {"metadata": {"labels": {"app": "x"}}},
                     {"status": {"phase": "Running"}}):
            self.assertIn("only the annotation", patch("agent", body), body)
        self.assertEqual(patch("agent", {"metadata": {"annotations": {"ambient.istio.io/redirection": None}}}), "")

    def test_mistakes_that_schemas_let_through(self):
        def refused(kind, group, spec):
            try:
                self.cluster.call("POST", f"/apis/{group}/v1/namespaces/default/{kind[0]}?dryRun=All",
                                  {"apiVersion": f"{group}/v1", "kind": kind[1], "metadata": {"name": "x"}, "spec": spec})
            except ApiError as error:
                return str(error) if error.status != 404 else ""
            return ""
        policy, route = ("authorizationpolicies", "AuthorizationPolicy"), ("virtualservices", "VirtualService")
        security, networking = "security.istio.io", "networking.istio.io"
        eventually(lambda: "provider" in refused(policy, security, {"action": "CUSTOM", "rules": [{}]}),
                   what="the admission policies in force")
        for spec, reason in (({"provider": {"name": "a"}}, "provider goes with the action CUSTOM"),
                             ({"action": "DENY"}, "needs at least one rule"),
                             ({"rules": [{"from": [{"source": {"principals": ["spiffe://a/ns/b/sa/c"]}}]}]}, "spiffe://"),
                             ({"rules": [{"to": [{"operation": {"ports": ["http"]}}]}]}, "ports from 1"),
                             ({"action": "DENY", "rules": [{"to": [{"operation": {"notPorts": ["70000"]}}]}]}, "ports")):
            self.assertIn(reason, refused(policy, security, spec))
        for spec in ({}, {"rules": [{}]}, {"action": "DENY", "rules": [{"from": [{"source": {"namespaces": ["a"]}}]}]}):
            self.assertEqual(refused(policy, security, spec), "")
        to = [{"destination": {"host": "a"}}]
        eventually(lambda: "exactly one" in refused(route, networking, {"hosts": ["a"], "http": [{}]}), what="routes")
        self.assertIn("weight above 0", refused(route, networking, {"http": [{"route": [{**to[0], "weight": 0}] * 2}]}))
        self.assertIn("exactly one", refused(route, networking, {"http": [{"route": to, "redirect": {"uri": "/"}}]}))
        self.assertEqual(refused(route, networking, {"http": [{"route": to}]}), "")


class LifeCycle(ChartTest):
    def test_upgrade_rollback_uninstall(self):
        self.install()
        self.cluster.kubectl("apply", "-n", "default", "-f", HERE / "crds/good/security.yaml")
        self.install("control.replicas=3", "meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY", verb="upgrade")

        def replicas():
            return self.cluster.get("deployment", "weft-control", "-n", NAMESPACE)["spec"]["replicas"]
        self.assertEqual(replicas(), 3)
        mesh = self.cluster.get("configmap", "istio", "-n", NAMESPACE)["data"]["mesh"]
        self.assertIn("mode: REGISTRY_ONLY", mesh)
        self.helm("rollback", RELEASE, "1", "-n", NAMESPACE)
        self.assertEqual(replicas(), 2)
        self.assertNotIn("REGISTRY_ONLY", self.cluster.get("configmap", "istio", "-n", NAMESPACE)["data"]["mesh"])
        release.uninstall(self.cluster, "--no-hooks")
        ours = "app.kubernetes.io/part-of=weft"
        kinds = "deployment,daemonset,service,serviceaccount,configmap,role,rolebinding,poddisruptionbudget"
        self.assertEqual(self.cluster.get(kinds, "-n", NAMESPACE, "-l", ours)["items"], [])
        cluster_kinds = "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding"
        self.assertEqual(self.cluster.get(cluster_kinds, "-l", ours)["items"], [])
        # What people wrote is theirs, and stays; so do the kinds, which a second installation takes over again.
        self.assertIn("viewers", self.cluster.kubectl("get", "ap", "-n", "default", "-o", "name"))
        self.install()
        self.assertIn("viewers", self.cluster.kubectl("get", "ap", "-n", "default", "-o", "name"))


class BesideIstio(ChartTest):
    def test_crds_of_others_stay_as_they_are(self):
        foreign = json.loads(self.cluster.kubectl("create", "--dry-run=client", "-o", "json", "-f",
                                                  CHART / "files/crds/peerauthentications.security.istio.io.yaml"))
        foreign["metadata"]["labels"] = {"chart": "istio"}
        self.cluster.apply(foreign)
        self.install()
        crds = {crd["metadata"]["name"]: crd for crd in self.cluster.get("crd")["items"]}
        self.assertEqual(crds["peerauthentications.security.istio.io"]["metadata"]["labels"], {"chart": "istio"})
        self.assertEqual(len(crds), 15)
        self.install(verb="upgrade")
        release.uninstall(self.cluster, "--no-hooks")
        self.assertEqual(len(self.cluster.get("crd")["items"]), 15)


class Command(ChartTest):
    """`weft install` and its kin."""

    def on_cluster(self, *arguments, **more):
        done = release.weft(self.cluster, *arguments, **more)
        return done.returncode, done.stdout, done.stderr

    def test_install_verify_version_upgrade_uninstall(self):
        code, said, wrong = self.on_cluster("precheck", "--cluster")
        self.assertEqual((code, wrong), (0, ""))
        self.assertRegex(said, r"^Kubernetes v1\.\d+")
        code, said, wrong = self.on_cluster("verify")
        self.assertEqual(code, 1)
        self.assertIn("weft-control is not there: weft install -n istio-system", wrong)

        code, said, wrong = self.on_cluster("install", "--no-wait", "--platform", "gke", "--set", "control.replicas=1")
        self.assertEqual(code, 0, wrong)
        self.assertIn("Weft is installed in namespace istio-system", said)
        self.assertEqual(len(self.cluster.get("crd")["items"]), 15)
        code, said, wrong = self.on_cluster("verify")
        self.assertEqual(code, 1)  # no node runs anything here
        self.assertIn("weft-control: 0 of 1 pods are ready and up to date: kubectl -n istio-system describe "
                      "deployment weft-control", wrong)
        code, said, wrong = self.on_cluster("version")
        self.assertEqual(code, 0, wrong)
        self.assertRegex(said, r"(?s)^weft \S+\n.*weft-ztunnel +istio-system +0/0 +\S+ +\S*weft-ztunnel:")

        code, said, wrong = self.on_cluster("upgrade", "--no-wait", "--set", "control.replicas=3")
        self.assertEqual(code, 0, wrong)
        self.assertEqual(self.cluster.get("deployment", "weft-control", "-n", NAMESPACE)["spec"]["replicas"], 3)
        self.cluster.get("resourcequota", "weft-critical", "-n", NAMESPACE)  # still what gke needs
        code, said, wrong = self.on_cluster("uninstall", "--no-wait", "--", "--no-hooks")
        self.assertEqual(code, 0, wrong)
        self.assertEqual(self.cluster.get("deployment", "-n", NAMESPACE)["items"], [])

    def test_without_helm_there_is_a_remedy(self):
        for command in (("install",), ("uninstall", "--purge")):
            code, _, wrong = self.on_cluster(*command, path="/nonexistent")
            self.assertEqual(code, 1)
            self.assertIn("helm is not in PATH: install it", wrong)

    def test_the_chart_is_one_for_helm(self):
        file = self.cluster.folder / "weft.tgz"
        file.write_bytes(subprocess.run([BIN / "weft", "chart"], capture_output=True, check=True).stdout)
        self.assertIn("0 chart(s) failed", self.helm("lint", "--strict", file))
        self.assertIn("appVersion", self.helm("show", "chart", file))


if __name__ == "__main__":
    cluster.main("helm")
