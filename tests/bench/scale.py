"""Measures control beside a real API server at the size of large clusters; see README.md.

Pods, Services and policies are only objects: no node runs. Streams are ztunnel's own client's (xds_streams.cc).
"""

import argparse
import base64
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kube"))

import cluster  # noqa: E402
from cluster import Cluster  # noqa: E402
from control import BIN, NAME, NAMESPACE, Replica, pod, prepare  # noqa: E402
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
         "control.s10000.rss_mb": 560, "sync.s1000.s": 0.07, "sync.s10000.s": 0.93,
         **{f"propagation.{size}.streams{many}.p99_ms": 100 for size in ("s1000", "s10000") for many in (100, 500)}}


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


class Streams:
    """Streams of bench_xds_streams: when each had its first set, and when an Address was heard by all of them."""

    def __init__(self, cluster_, replica, token, count):
        self.synced, self.heard, self.bytes, self._changed = [], {}, [], threading.Condition()
        file = cluster_.folder / "streams.token"
        file.write_text(token)
        command = [BIN / "bench_xds_streams", f"{cluster.ADDRESS}:{replica.port}", NAME,
                   replica.folder / "state/roots.pem", file, count]
        self._process = subprocess.Popen(cluster_.namespaces.enter(*command), stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.wait(lambda: len(self.synced) == count, within=120)

    def _read(self):
        for line in self._process.stdout:
            said = json.loads(line)
            with self._changed:
                if "synced" in said:
                    self.synced.append(said)
                else:
                    self.heard[said["name"]] = said["last"]
                    self.bytes.append(said["bytes"])
                self._changed.notify_all()

    def wait(self, done, within=30):
        with self._changed:
            assert self._changed.wait_for(done, within), f"not heard within {within} s"

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)
        self._thread.join()


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

    def change(self, number):
        """Makes a pod unready, or ready again: one resource is to be pushed."""
        self.ready[number] = not self.ready.get(number, True)
        i = number % self.pods
        name = f"/api/v1/namespaces/{self.namespace(i % self.services)}/pods/pod-{i}/status"
        self.cluster.call("PATCH", name, {"status": {"conditions": [
            {"type": "Ready", "status": str(self.ready[number])}]}}, MERGE)

    def uid(self, number):
        return f"Kubernetes//Pod/{self.namespace(number % self.services)}/pod-{number}"

    def propagation(self, streams, changes, every=None):
        """Seconds from asking the API server to the push at the last of the streams, and from a plain watch to it;
        a change every so many seconds, or each when the one before it has come."""
        watch, began = Watch(self.cluster), []
        self.change(self.pods - 1)
        eventually(lambda: f"pod-{self.pods - 1}" in watch.seen, what="the watch", pause=0.01)
        start = time.monotonic()
        for number in range(changes):
            if every:
                time.sleep(max(0, start + number * every - time.monotonic()))
            began.append(time.monotonic())
            self.change(number)
            if not every:
                streams.wait(lambda: streams.heard.get(self.uid(number), 0) >= began[number])  # noqa: B023
        streams.wait(lambda: all(streams.heard.get(self.uid(i), 0) >= one for i, one in enumerate(began)))
        eventually(lambda: all(watch.seen.get(f"pod-{i}", 0) >= one for i, one in enumerate(began)), pause=0.01)
        heard = [streams.heard[self.uid(number)] for number in range(changes)]
        return ([last - one for last, one in zip(heard, began)],
                [last - watch.seen[f"pod-{number}"] for number, last in enumerate(heard)])

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
        streams = Streams(self.cluster, replica, token, 1)
        self.row(f"sync.{self.name}.s", "s", streams.synced[0]["came"])
        self.row(f"sync.{self.name}.parsed_s", "s", streams.synced[0]["synced"])
        self.row(f"sync.{self.name}.bytes", "B", streams.synced[0]["bytes"])
        alone = self.api_alone(changes)
        self.row(f"api.{self.name}.p50_ms", "ms", 1000 * statistics.median(alone))
        self.times(self.name, *self.propagation(streams, changes))
        self.row(f"push.{self.name}.bytes", "B", statistics.mean(streams.bytes))
        streams.close()
        before = replica.resident_mib()
        self.row(f"control.{self.name}.rss_synced_mb", "MB", before)
        for count in many:
            self.together(replica, token, count, changes, before)
        return self.rows

    def times(self, name, took, added):
        for what, values in (("", took), ("added_", added)):
            self.row(f"propagation.{name}.{what}p50_ms", "ms", 1000 * statistics.median(values))
            self.row(f"propagation.{name}.{what}p99_ms", "ms", 1000 * percentile(values, 0.99))

    def together(self, replica, token, count, changes, before):
        """So many streams that come at once, as after a restart of control, and then ten changes a second."""
        name, cpu = f"{self.name}.streams{count}", cpu_seconds(replica.process.pid)
        streams = Streams(self.cluster, replica, token, count)
        self.row(f"sync.{name}.s", "s", max(one["came"] for one in streams.synced))
        self.row(f"sync.{name}.cpu_s", "s", cpu_seconds(replica.process.pid) - cpu)
        self.times(name, *self.propagation(streams, changes, every=0.1))
        self.row(f"control.{name}.rss_mb", "MB", replica.resident_mib())
        self.row(f"control.{name}.stream_kb", "kB", 1024 * (replica.resident_mib() - before) / count)
        streams.close()


def main():
    known = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known.add_argument("--json", metavar="FILE")
    known.add_argument("--sizes", default="s1000", help=f"of {', '.join(SIZES)}, with commas between")
    known.add_argument("--changes", type=int, default=100)
    known.add_argument("--streams", default="", metavar="N,..", help="so many streams at once, too")
    asked = known.parse_args()
    lack = cluster.missing("helm")
    if lack:
        print(f"skipped: {lack}")
        sys.exit(cluster.SKIPPED)
    rows = []
    for size in asked.sizes.split(","):
        with Cluster(controllers=IDLE) as one:
            rows += Scale(one, size, lambda text: print(text, flush=True)).run(
                asked.changes, [int(one) for one in asked.streams.split(",") if one])
    if asked.json:
        pathlib.Path(asked.json).write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
