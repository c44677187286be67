"""The rig itself: what the other suites of this folder take for granted."""

import http.client
import json
import pathlib
import signal
import subprocess
import sys
import time
import unittest

import cluster
from cluster import ApiError, Cluster
from processes import eventually

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": "default"},
       "spec": {"containers": [{"name": "main", "image": "none"}]}}


class Rig(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        began = time.monotonic()
        cls.cluster = Cluster(users={"mallory": ()}).__enter__()
        cls.addClassCleanup(cls.cluster.close)
        print(f"cluster ready in {time.monotonic() - began:.1f} s", file=sys.stderr)

    def setUp(self):
        if not self.cluster.api_server.running():
            self.cluster.api_server.start()
        self.cluster.wait_ready()

    def test_version_is_a_release(self):
        self.assertRegex(self.cluster.call("GET", "/version")["gitVersion"], r"^v1\.\d+\.\d+$")

    def test_kubectl_applies_and_controllers_work(self):
        self.cluster.kubectl("create", "namespace", "shop")
        self.cluster.wait_account("shop")
        self.cluster.apply({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": POD["spec"]}}})
        eventually(lambda: len(self.cluster.get("pods", "-n", "shop")["items"]) == 2, what="two pods")
        eventually(lambda: "kube-root-ca.crt" in self.cluster.kubectl("get", "configmap", "-n", "shop"),
                   what="the root of the cluster's CA")

    def test_who_one_is(self):
        def name(**options):
            config = self.cluster.kubeconfig(**options)
            return json.loads(self.cluster.kubectl("auth", "whoami", "-o", "json", config=config))["status"]["userInfo"]
        self.assertEqual(name(user="alice", groups=["ops"])["username"], "alice")
        self.assertIn("ops", name(user="alice", groups=["ops"])["groups"])
        self.assertEqual(name(user="m", token=self.cluster.token_of("mallory"))["username"], "mallory")
        account = name(user="a", token=self.cluster.token("default"))
        self.assertEqual(account["username"], "system:serviceaccount:default:default")

    def test_token_of_a_pod_is_reviewed(self):
        self.cluster.apply({**POD, "metadata": {"name": "asker", "namespace": "default"}})
        token = self.cluster.token("default", audience="weft", pod="asker")
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                  "spec": {"token": token, "audiences": ["weft"]}}
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        status = self.cluster.call("POST", path, review)["status"]
        self.assertTrue(status["authenticated"])
        self.assertEqual(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], ["asker"])
        review["spec"]["token"] = self.cluster.pki.signed_token(
            {"iss": "https://kubernetes.default.svc", "aud": ["weft"], "sub": "system:serviceaccount:default:default"},
            lifetime=-60)
        self.assertNotIn("authenticated", self.cluster.call("POST", path, review)["status"])

    def test_refusal_is_told(self):
        with self.assertRaises(ApiError) as refused:
            self.cluster.call("GET", "/api/v1/namespaces/nowhere")
        self.assertEqual(refused.exception.status, 404)

    def test_api_server_away_and_back(self):
        self.cluster.api_server.kill()
        with self.assertRaises((OSError, http.client.HTTPException)):
            self.cluster.call("GET", "/readyz")
        self.cluster.api_server.start()
        self.cluster.wait_ready()
        self.assertEqual(self.cluster.call("GET", "/api/v1/namespaces/default")["kind"], "Namespace")

    def test_old_version_is_gone_after_compaction(self):
        old = self.cluster.call("GET", "/api/v1/namespaces")["metadata"]["resourceVersion"]
        for name in ("c1", "c2"):
            self.cluster.kubectl("create", "namespace", name)
        self.cluster.compact()
        self.cluster.api_server.stop()
        self.cluster.api_server.start()
        self.cluster.wait_ready()
        path = f"/api/v1/namespaces?watch=1&resourceVersion={old}&timeoutSeconds=5"
        try:
            said = self.cluster.call("GET", path)
            self.assertEqual(said["object"]["code"], 410)
        except ApiError as refused:
            self.assertEqual(refused.status, 410)

    def test_programs_run_inside(self):
        code = "import socket; socket.create_connection(('172.30.0.1', 6443)); print('reached', flush=True); input()"
        script = self.cluster.folder / "inside.py"
        script.write_text(code)
        process = self.cluster.start("inside", ["/usr/bin/python3", script])
        self.assertTrue(eventually(lambda: "reached" in process.text(), what="a connection"))
        folder = self.cluster.account_folder("default")
        self.assertEqual((folder / "namespace").read_text(), "default")


class Killed(unittest.TestCase):
    def test_two_at_once_and_nothing_left(self):
        """A second cluster in a process that is killed: its programs die, the next start removes its folder."""
        code = ("import sys, time; sys.path.insert(0, sys.argv[1])\nfrom cluster import Cluster\n"
                "c = Cluster().__enter__(); print(c.folder, c.api_server.pid, flush=True); time.sleep(1000)")
        other = subprocess.Popen([sys.executable, "-c", code, str(cluster.HERE)], stdout=subprocess.PIPE, text=True)
        try:
            folder, pid = other.stdout.readline().split()
            with Cluster() as mine:
                self.assertEqual(mine.call("GET", "/readyz"), "ok")
                other.send_signal(signal.SIGKILL)
                other.wait()
                eventually(lambda: not pathlib.Path("/proc", pid).exists(), what="its API server's end")
            cluster.remove_stale()
            self.assertFalse(pathlib.Path(folder).exists())
            self.assertFalse(mine.folder.exists())
        finally:
            other.kill()
            other.stdout.close()


if __name__ == "__main__":
    cluster.main()
