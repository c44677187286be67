"""Measures control beside a real API server at the size of large clusters; see README.md.

Pods, Services and policies are only objects: no node runs. A stream is a node's: python3-h2 and ssl.
"""

import argparse
import base64
import json
import os
import pathlib
import statistics
import sys
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kube"))

import cluster  # noqa: E402
from cluster import Cluster  # noqa: E402
from control import NAMESPACE, Replica, pod, prepare  # noqa: E402
from grpc_peer import ADDRESS, AUTHORIZATION  # noqa: E402
from processes import eventually  # noqa: E402

# name -> Services, Pods, policies. istiod was measured at both (goals: reference in README.md).
SIZES = {"tiny": (20, 100, 5), "s1000": (1000, 10_000, 500), "s10000": (10_000, 50_000, 5000)}
NAMESPACES = 10
BATCH = 100  # of one transaction in etcd, which takes 128
# Nothing that would work on these objects: no node has them.
IDLE = (*cluster.NO_NODE_CONTROLLERS, "-endpointslice-controller", "-endpoints-controller",
        "-endpointslice-mirroring-controller", "-resourcequota-controller", "-replicaset-controller",
        "-disruption-controller")
MERGE = "application/merge-patch+json"
# name of the row -> (goal, what it is compared with)
GOALS = {"propagation.s1000.p99_ms": 20, "propagation.s10000.p99_ms": 40, "control.s1000.rss_mb": 150,
         "control.s10000.rss_mb": 560, "propagation.s1000.streams100.p99_ms": 100,
         "sync.s1000.s": 0.07, "sync.s10000.s": 0.93}


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """A plain watch of the pods, to tell what the API server takes from what control adds."""

    def __init__(self, cluster_):
        self.seen, self._cluster = {}, cluster_
        version = cluster_.call("GET", "/api/v1/pods?limit=1")["metadata"]["resourceVersion"]
        self._thread = threading.Thread(target=self._read, args=(version,), daemon=True)
        self._thread.start()

    def _read(self, version):
        # kubectl would poll; this is the administrator's token over the cluster's own connection.
        for line in self._cluster.lines(f"/api/v1/pods?watch=1&resourceVersion={version}"):
            meta = json.loads(line)["object"]["metadata"]
            self.seen[meta["name"]] = time.monotonic()


class Scale:
    def __init__(self, cluster_, name, say):
        self.cluster, self.name, self.say = cluster_, name, say
        self.services, self.pods, self.policies = SIZES[name]
        self.rows, self.ready = [], {}

    def row(self, name, unit, value):
        self.rows.append({"name": name, "unit": unit, "weft": round(value, 3)})
        goal = GOALS.get(name)
        verdict = "" if goal is None else f"  (goal {goal}: {'holds' if value <= goal else 'MISSED'})"
        self.say(f"{name:42} {value:12.2f} {unit}{verdict}")

    @staticmethod
    def namespace(number):
        return f"scale-{number % NAMESPACES}"

    # Objects are put into etcd as the API server would store them (as JSON, which it reads as well): by asking it
    # for every one of them, filling the larger size takes longer than an hour.

    def put(self, resource, objects):
        """objects: (namespace, name, object without metadata's names)."""
        batch = []
        for namespace, name, one in objects:
            one["metadata"] = {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), "generation": 1,
                               "creationTimestamp": "2026-01-01T00:00:00Z", **one.get("metadata", {})}
            batch.append((f"/registry/{resource}/{namespace}/{name}", one))
            if len(batch) == BATCH:
                self.commit(batch)
                batch = []
        self.commit(batch)

    def commit(self, batch):
        def text(value):
            return base64.b64encode(value.encode()).decode()
        if batch:
            self.cluster.etcd_call("txn", {"success": [
                {"requestPut": {"key": text(key), "value": text(json.dumps(one))}} for key, one in batch]})

    def services_(self):
        for i in range(self.services):
            ip = f"10.96.{i // 250 + 1}.{i % 250 + 1}"
            yield self.namespace(i), f"svc-{i}", {
                "apiVersion": "v1", "kind": "Service",
                "spec": {"selector": {"app": f"app-{i}"}, "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip],
                         "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
                         "internalTrafficPolicy": "Cluster",
                         "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}}

    @staticmethod
    def address(i):
        return f"10.{i // 65536 + 1}.{i // 256 % 256}.{i % 256}"

    def pods_(self):
        for i in range(self.pods):
            app, ip = i % self.services, self.address(i)
            probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10}
            conditions = [{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"} for kind in
                          ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")]
            yield self.namespace(app), f"pod-{i}", {
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"labels": {"app": f"app-{app}", "version": "v1", "pod-template-hash": f"{app:08x}"},
                             "annotations": {"ambient.istio.io/redirection": "enabled"},
                             "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": True,
                                                  "name": f"app-{app}-{app:08x}", "uid": str(uuid.UUID(int=app))}]},
                "spec": {"nodeName": f"node-{i % 100}", "serviceAccountName": "default",
                         "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {
                             "path": "token", "expirationSeconds": 3607}}]}}],
                         "containers": [{"name": "main", "image": f"registry.example.com/shop/app-{app}:v1.2.3",
                                         "args": ["--port=8080"], "ports": [{"name": "http", "containerPort": 8080}],
                                         "env": [{"name": f"SETTING_{n}", "value": "x" * 20} for n in range(10)],
                                         "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                                         "livenessProbe": probe, "readinessProbe": probe}]},
                "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "172.30.0.11",
                           "qosClass": "Burstable", "conditions": conditions}}

    def slices(self):
        for i in range(self.services):
            mine = range(i, self.pods, self.services)
            yield self.namespace(i), f"svc-{i}-abcde", {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"labels": {"kubernetes.io/service-name": f"svc-{i}",
                                        "endpointslice.kubernetes.io/managed-by":
                                        "endpointslice-controller.k8s.io"}},
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
                "endpoints": [{"addresses": [self.address(n)], "nodeName": f"node-{n % 100}",
                               "conditions": {"ready": True, "serving": True, "terminating": False},
                               "targetRef": {"kind": "Pod", "name": f"pod-{n}", "namespace": self.namespace(i)}}
                              for n in mine]}

    def policies_(self):
        for i in range(self.policies):
            yield self.namespace(i), f"policy-{i}", {
                "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "spec": {"selector": {"matchLabels": {"app": f"app-{i % self.services}"}}, "action": "ALLOW",
                         "rules": [{"from": [{"source": {
                             "principals": ["cluster.local/ns/scale-0/sa/default"]}}]}]}}

    def fill(self):
        began = time.monotonic()
        prepare(self.cluster)
        for number in range(NAMESPACES):
            self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": self.namespace(number), "labels": {"istio.io/dataplane-mode": "ambient"}}})
        self.cluster.wait_account(NAMESPACE, "weft-ztunnel")
        pod(self.cluster, NAMESPACE, "ztunnel-node-0", "node-0", "weft-ztunnel", "10.250.0.1")
        self.put("services/specs", self.services_())
        self.put("security.istio.io/authorizationpolicies", self.policies_())
        self.put("pods", self.pods_())
        self.put("endpointslices", self.slices())
        self.say(f"{self.services} Services, {self.pods} Pods, {self.policies} policies made in "
                 f"{time.monotonic() - began:.0f} s")

    def connect(self, replica, token):
        began = time.monotonic()
        stream = replica.peer(token).stream()
        stream.subscribe(ADDRESS).subscribe(AUTHORIZATION)
        expected = self.pods + self.services
        stream.wait(lambda: len(stream.of(ADDRESS)) >= expected
                    and len(stream.of(AUTHORIZATION)) >= self.policies, within=120)
        return stream, time.monotonic() - began

    def change(self, number):
        """Makes a pod unready, or ready again: one resource is to be pushed."""
        self.ready[number] = not self.ready.get(number, True)
        i = number % self.pods
        name = f"/api/v1/namespaces/{self.namespace(i % self.services)}/pods/pod-{i}/status"
        self.cluster.call("PATCH", name, {"status": {"conditions": [
            {"type": "Ready", "status": str(self.ready[number])}]}}, MERGE)

    def propagation(self, stream, changes, each=0.0):
        """Seconds from asking the API server to the push at the stream; and from a plain watch to it."""
        took, added = [], []
        watch = Watch(self.cluster)
        for number in range(changes):
            uid = f"Kubernetes//Pod/{self.namespace(number % self.services)}/pod-{number}"
            before = stream.of(ADDRESS)[uid]
            began = time.monotonic()
            self.change(number)
            stream.wait(lambda: stream.of(ADDRESS)[uid] != before)  # noqa: B023
            pushed = time.monotonic()
            took.append(pushed - began)
            eventually(lambda: watch.seen.get(f"pod-{number}", 0) >= began, pause=0.001)  # noqa: B023
            added.append(pushed - watch.seen[f"pod-{number}"])
            time.sleep(each)
        return took, added

    def api_alone(self, changes):
        """What the same request costs without anybody waiting for it."""
        took = []
        for number in range(changes):
            began = time.monotonic()
            self.change(self.pods // 2 + number)
            took.append(time.monotonic() - began)
        return took

    def run(self, changes, many):
        self.fill()
        self.cluster.forget_connection()  # the API server ends one that was idle for long
        began = time.monotonic()
        replica = Replica(self.cluster, 0).wait_ready(300)
        self.row(f"control.{self.name}.ready_s", "s", time.monotonic() - began)
        self.row(f"control.{self.name}.cpu_s", "s", cpu_seconds(replica.process.pid))
        self.row(f"control.{self.name}.rss_mb", "MB", replica.resident_mib())
        token = self.cluster.token("weft-ztunnel", NAMESPACE, audience="istio-ca", pod="ztunnel-node-0")
        stream, took = self.connect(replica, token)
        self.row(f"sync.{self.name}.s", "s", took)
        self.row(f"sync.{self.name}.bytes", "B", stream.bytes)
        alone = self.api_alone(changes)
        before, pushes = stream.bytes, stream.pushes
        took, added = self.propagation(stream, changes)
        self.row(f"api.{self.name}.p50_ms", "ms", 1000 * statistics.median(alone))
        self.row(f"propagation.{self.name}.p50_ms", "ms", 1000 * statistics.median(took))
        self.row(f"propagation.{self.name}.p99_ms", "ms", 1000 * percentile(took, 0.99))
        self.row(f"propagation.{self.name}.added_p50_ms", "ms", 1000 * statistics.median(added))
        self.row(f"propagation.{self.name}.added_p99_ms", "ms", 1000 * percentile(added, 0.99))
        self.row(f"push.{self.name}.bytes", "B", (stream.bytes - before) / max(1, stream.pushes - pushes))
        self.row(f"control.{self.name}.rss_synced_mb", "MB", replica.resident_mib())
        if many:
            others = [self.connect(replica, token)[0] for _ in range(many - 1)]
            took, added = self.propagation(stream, changes, each=0.1)
            self.row(f"propagation.{self.name}.streams{many}.added_p99_ms", "ms", 1000 * percentile(added, 0.99))
            self.row(f"propagation.{self.name}.streams{many}.p99_ms", "ms", 1000 * percentile(took, 0.99))
            self.row(f"control.{self.name}.streams{many}.rss_mb", "MB", replica.resident_mib())
            for other in others:
                other.close()
        stream.close()
        return self.rows


def main():
    known = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known.add_argument("--json", metavar="FILE")
    known.add_argument("--sizes", default="s1000", help=f"of {', '.join(SIZES)}, with commas between")
    known.add_argument("--changes", type=int, default=100)
    known.add_argument("--streams", type=int, default=0, help="more streams, besides the one; some take long here")
    asked = known.parse_args()
    lack = cluster.missing("helm")
    if lack:
        print(f"skipped: {lack}")
        sys.exit(cluster.SKIPPED)
    rows = []
    for size in asked.sizes.split(","):
        with Cluster(controllers=IDLE) as one:
            rows += Scale(one, size, lambda text: print(text, flush=True)).run(asked.changes, asked.streams)
    if asked.json:
        pathlib.Path(asked.json).write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
