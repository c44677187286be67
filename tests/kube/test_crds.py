"""The CRDs that proto/crd becomes, in a real API server: what kubectl accepts, refuses, explains and lists."""

import json
import re
import unittest

import cluster
from cluster import HERE, ApiError, Cluster
from release import CHART

CRDS = CHART / "files/crds"
NETWORKING, SECURITY = "networking.istio.io", "security.istio.io"
TELEMETRY, EXTENSIONS = "telemetry.istio.io", "extensions.istio.io"

# Kind -> plural, group and every version that Istio serves.
KINDS = {
    "VirtualService": ("virtualservices", NETWORKING, ("v1", "v1beta1", "v1alpha3")),
    "DestinationRule": ("destinationrules", NETWORKING, ("v1", "v1beta1", "v1alpha3")),
    "Gateway": ("gateways", NETWORKING, ("v1", "v1beta1", "v1alpha3")),
    "ServiceEntry": ("serviceentries", NETWORKING, ("v1", "v1beta1", "v1alpha3")),
    "Sidecar": ("sidecars", NETWORKING, ("v1", "v1beta1", "v1alpha3")),
    "WorkloadEntry": ("workloadentries", NETWORKING, ("v1", "v1beta1", "v1alpha3")),
    "WorkloadGroup": ("workloadgroups", NETWORKING, ("v1", "v1beta1", "v1alpha3")),
    "EnvoyFilter": ("envoyfilters", NETWORKING, ("v1alpha3",)),
    "ProxyConfig": ("proxyconfigs", NETWORKING, ("v1beta1",)),
    "AuthorizationPolicy": ("authorizationpolicies", SECURITY, ("v1", "v1beta1")),
    "PeerAuthentication": ("peerauthentications", SECURITY, ("v1", "v1beta1")),
    "RequestAuthentication": ("requestauthentications", SECURITY, ("v1", "v1beta1")),
    "Telemetry": ("telemetries", TELEMETRY, ("v1", "v1alpha1")),
    "WasmPlugin": ("wasmplugins", EXTENSIONS, ("v1alpha1",)),
    "TrafficExtension": ("trafficextensions", EXTENSIONS, ("v1alpha1",)),
}


def http(**route):
    return {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}], **route}]}


def entry(**more):
    return {"hosts": ["a.example"], "ports": [{"number": 80, "name": "http"}], **more}


def rule(**policy):
    return {"host": "a", "trafficPolicy": policy}


TARGET = {"kind": "Service", "name": "a"}
# What the API server must refuse: kind, spec, and what its message must say (a regular expression).
BAD = [
    ("VirtualService", http(rout=[]), r'unknown field "spec.http\[0\].rout"'),
    ("VirtualService", {"hosts": "a"}, "spec.hosts.*must be of type array"),
    ("VirtualService", http(timeout="soon"), r"spec.http\[0\].timeout.*duration"),
    ("VirtualService", http(timeout="10us"), "at least 1ms"),
    ("VirtualService", {"http": [{"route": [{"weight": 1}]}]}, "destination: Required value"),
    ("VirtualService", http(match=[{"uri": {"exact": "/", "prefix": "/"}}]), "must validate one and only one"),
    ("VirtualService", http(match=[{"port": -1}]), "greater than or equal to 0"),
    ("VirtualService", http(match=[{"port": "http"}]), "must be of type integer"),
    ("VirtualService", http(fault={"delay": {"fixedDelay": "1s", "exponentialDelay": "1s"}}), "one and only one"),
    ("VirtualService", http(corsPolicy={"unmatchedPreflights": "DROP"}), 'Unsupported value: "DROP"'),
    ("VirtualService", {"tls": [{"route": []}]}, "match: Required value"),
    ("VirtualService", http(redirect={"port": 1, "derivePort": "FROM_REQUEST_PORT"}), "one and only one"),
    ("DestinationRule", {}, "spec.host: Required value"),
    ("DestinationRule", rule(loadBalancer={"simple": "LEAST"}), 'Unsupported value: "LEAST"'),
    ("DestinationRule", rule(loadBalancer={"simple": "RANDOM", "consistentHash": {}}), "one and only one"),
    ("DestinationRule", rule(loadBalancer={"consistentHash": {"useSourceIp": True, "httpHeaderName": "a"}}),
     "one and only one"),
    ("DestinationRule", rule(outlierDetection={"interval": "-1s"}), "at least 1ms"),
    ("DestinationRule", rule(retryBudget={"percent": 101}), "less than or equal to 100"),
    ("DestinationRule", {"host": "a", "subsets": [{"labels": {}}]}, "name: Required value"),
    ("DestinationRule", rule(tunnel={"protocol": "CONNECT"}), "targetHost: Required value"),
    ("Gateway", {"servers": [{"hosts": ["*"]}]}, "port: Required value"),
    ("Gateway", {"servers": [{"hosts": ["*"], "port": {"number": 1, "name": "a", "protocol": "TLS"}, "tls": {
        "credentialName": "a", "credentialNames": ["b"]}}]}, "only one of credentialName"),
    ("ServiceEntry", {}, "spec.hosts: Required value"),
    ("ServiceEntry", {"hosts": []}, "at least 1 item"),
    ("ServiceEntry", {"hosts": ["*"]}, "every host of the world"),
    ("ServiceEntry", entry(resolution="DNS", addresses=["10.0.0.0/8"]), "CIDR"),
    ("ServiceEntry", entry(endpoints=[{"address": "1.1.1.1"}]), "resolution NONE"),
    ("ServiceEntry", entry(resolution="DNS_ROUND_ROBIN", endpoints=[{"address": "a"}, {"address": "b"}]),
     "at most one endpoint"),
    ("ServiceEntry", entry(resolution="STATIC", endpoints=[{"address": "1.1.1.1"}],
                           workloadSelector={"labels": {"a": "b"}}), "only one of workloadSelector and endpoints"),
    ("ServiceEntry", {"hosts": ["a.b"], "ports": [{"number": 0, "name": "a"}]}, "greater than or equal to 1"),
    ("ServiceEntry", {"hosts": ["a.b"], "ports": [{"number": 80, "name": "a"}, {"number": 80, "name": "b"}]},
     "a number of its own"),
    ("ServiceEntry", {"hosts": ["a.b"], "ports": [{"number": 80, "name": "a"}, {"number": 81, "name": "a"}]},
     "Duplicate value"),
    ("WorkloadEntry", {}, "expected an address, or a network"),
    ("WorkloadEntry", {"address": "unix://run/a"}, "absolute path"),
    ("WorkloadEntry", {"address": "unix:///run/a", "ports": {"a": 1}}, "has no ports"),
    ("WorkloadEntry", {"address": "a", "ports": {"http": 65536}}, "less than or equal to 65535"),
    ("WorkloadEntry", {"address": "a", "ports": {"-": 1}}, "names of ports"),
    ("WorkloadGroup", {}, "spec.template: Required value"),
    ("WorkloadGroup", {"template": {}, "probe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}}, "one and only"),
    ("WorkloadGroup", {"template": {}, "probe": {"httpGet": {"port": 1, "scheme": "FTP"}}}, "Unsupported value"),
    ("Sidecar", {"egress": [{"hosts": ["*/*"], "captureMode": "BPF"}]}, "Unsupported value"),
    ("Sidecar", {"egress": [{"bind": "a"}]}, "hosts: Required value"),
    ("EnvoyFilter", {"workloadSelector": {"labels": {"a": "b"}}, "targetRefs": [TARGET]}, "only one of"),
    ("EnvoyFilter", {"configPatches": [{"applyTo": "ROUTER"}]}, "Unsupported value"),
    ("ProxyConfig", {"concurrency": -1}, "greater than or equal to 0"),
    ("AuthorizationPolicy", {"action": "allow"}, 'Unsupported value: "allow"'),
    ("AuthorizationPolicy", {"selector": {"matchLabels": {"app": "web*"}}}, "cannot hold a wildcard"),
    ("AuthorizationPolicy", {"selector": {}, "targetRefs": [TARGET]}, "only one of selector"),
    ("AuthorizationPolicy", {"targetRefs": [{"name": "a"}]}, "kind: Required value"),
    ("AuthorizationPolicy", {"targetRefs": [{**TARGET, "namespace": "other"}]}, "another namespace"),
    ("AuthorizationPolicy", {"targetRefs": [TARGET] * 17}, "at most 16 items"),
    ("AuthorizationPolicy", {"rules": [{"from": [{"source": {"principal": ["a"]}}]}]}, "unknown field"),
    ("AuthorizationPolicy", {"rules": [{"from": [{"source": {"serviceAccounts": ["a"], "principals": ["b"]}}]}]},
     "beside principals"),
    ("AuthorizationPolicy", {"rules": [{"to": [{"operation": {"ports": [80]}}]}]}, "must be of type string"),
    ("AuthorizationPolicy", {"rules": [{"when": [{"values": ["a"]}]}]}, "key: Required value"),
    ("PeerAuthentication", {"mtls": {"mode": "strict"}}, "Unsupported value"),
    ("PeerAuthentication", {"portLevelMtls": {"80": {"mode": "STRICT"}}}, "needs a selector"),
    ("PeerAuthentication", {"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"0": {}}}, "1 to 65535"),
    ("PeerAuthentication", {"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {}}, "at least 1 propert"),
    ("RequestAuthentication", {"jwtRules": [{"issuer": ""}]}, "at least 1 char"),
    ("RequestAuthentication", {"jwtRules": [{"jwksUri": "ftp://a"}]}, "http://"),
    ("RequestAuthentication", {"jwtRules": [{"jwksUri": "http://a", "jwks": "{}"}]}, "only one of jwks"),
    ("RequestAuthentication", {"jwtRules": [{"outputClaimToHeaders": [{"header": "a b", "claim": "c"}]}]}, "match"),
    ("Telemetry", {"tracing": [{"randomSamplingPercentage": 100.5}]}, "less than or equal to 100"),
    ("Telemetry", {"metrics": [{"overrides": [{"tagOverrides": {"a": {"operation": "UPSERT"}}}]}]}, "needs a value"),
    ("Telemetry", {"metrics": [{"overrides": [{"match": {"metric": "REQUESTS"}}]}]}, "Unsupported value"),
    ("WasmPlugin", {}, "spec.url: Required value"),
    ("WasmPlugin", {"url": "ftp://a/b"}, "oci://"),
    ("WasmPlugin", {"url": "a", "sha256": "abc"}, "should match"),
    ("TrafficExtension", {"wasm": {"url": "a"}, "lua": {"inlineCode": "a"}}, "one and only one|exactly one"),
    ("TrafficExtension", {}, "exactly one"),
]


class Crds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.close)
        cls.applied = cls.cluster.kubectl("apply", "--server-side", "-f", CRDS, check=False)
        cls.cluster.wait_kinds()

    def path(self, kind, version=None):
        plural, group, versions = KINDS[kind]
        return f"/apis/{group}/{version or versions[0]}/namespaces/default/{plural}"

    def documents(self, file):
        """A manifest's documents as kubectl reads them, before any server changed them."""
        text = self.cluster.kubectl("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", file)
        decoder, at, found = json.JSONDecoder(), 0, []
        while at < len(text.rstrip()):
            document, end = decoder.raw_decode(text, at)
            found += document["items"] if document["kind"] == "List" else [document]
            at = end + len(text[end:]) - len(text[end:].lstrip())
        return found

    def test_installed_without_a_warning(self):
        self.assertEqual((self.applied.returncode, self.applied.stderr), (0, ""))

    def test_every_kind_and_version_is_served(self):
        for kind, (plural, group, versions) in KINDS.items():
            crd = self.cluster.call("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}")
            served = [version["name"] for version in crd["spec"]["versions"] if version["served"]]
            self.assertEqual(sorted(served), sorted(versions), kind)
            conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
            self.assertEqual(conditions.get("NonStructuralSchema", "False"), "False", kind)

    def test_good_manifests_are_accepted_and_come_back_unchanged(self):
        seen = set()
        for file in sorted((HERE / "crds/good").glob("*.yaml")):
            done = self.cluster.kubectl("apply", "-f", file, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), file.name)
            for sent in self.documents(file):
                kind, version = sent["kind"], sent["apiVersion"].split("/")[1]
                seen.add((kind, version))
                for other in KINDS[kind][2]:
                    got = self.cluster.call("GET", f"{self.path(kind, other)}/{sent['metadata']['name']}")
                    self.assertEqual(got["spec"], sent["spec"], f"{kind} {sent['metadata']['name']} as {other}")
        wanted = {(kind, version) for kind, (_, _, versions) in KINDS.items() for version in versions}
        self.assertEqual(wanted - seen, set())

    def test_bad_manifests_are_refused_with_a_reason(self):
        for kind, spec, reason in BAD:
            for version in KINDS[kind][2]:
                with self.subTest(kind=kind, version=version, spec=json.dumps(spec)[:100]):
                    body = {"apiVersion": f"{KINDS[kind][1]}/{version}", "kind": kind, "metadata": {"name": "bad"},
                            "spec": spec}
                    with self.assertRaises(ApiError) as refused:
                        self.cluster.call("POST", self.path(kind, version) + "?dryRun=All&fieldValidation=Strict", body)
                    self.assertRegex(str(refused.exception), re.compile(reason, re.S))

    def test_kubectl_apply_says_what_is_wrong(self):
        done = self.cluster.kubectl("apply", "-f", "-", check=False, input={
            "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "bad"},
            "spec": {"mtls": {"mode": "ON"}, "select": {}}})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('unknown field "select"', done.stderr)

    def test_null_is_as_good_as_absent_where_istio_says_so(self):
        body = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "null"},
                "spec": rule(outlierDetection={"consecutive5xxErrors": None})}
        self.cluster.call("POST", self.path("DestinationRule") + "?dryRun=All", body)

    def test_explain(self):
        text = self.cluster.kubectl("explain", "vs.spec.http.timeout")
        self.assertIn("Of the whole request, with retries", text)
        self.assertRegex(self.cluster.kubectl("explain", "ap.spec.action"), r"(?s)ALLOW\s+DENY\s+AUDIT\s+CUSTOM")
        self.assertIn("-required-", self.cluster.kubectl("explain", "dr.spec"))
        for kind, (plural, group, versions) in KINDS.items():
            for version in versions:
                text = self.cluster.kubectl("explain", f"{plural}.spec",
                                            f"--api-version={group}/{version}")
                self.assertIn(f"VERSION:    {version}", text)
                self.assertNotIn("<empty>", text, kind)

    def test_columns_and_short_names(self):
        self.cluster.kubectl("create", "namespace", "columns")
        self.cluster.kubectl("apply", "-n", "columns", "-f", HERE / "crds/good")
        def table(name):
            return [line.split() for line in self.cluster.kubectl("get", name, "-n", "columns").splitlines()]
        self.assertEqual(table("vs")[0], ["NAME", "GATEWAYS", "HOSTS", "AGE"])
        reviews = next(row for row in table("vs") if row[0] == "reviews")
        self.assertEqual(reviews[1:3], ['["mesh","istio-system/public"]', '["reviews","reviews.example.com"]'])
        self.assertEqual(table("dr")[0], ["NAME", "HOST", "AGE"])
        self.assertEqual(table("se")[0], ["NAME", "HOSTS", "LOCATION", "RESOLUTION", "AGE"])
        self.assertEqual(table("we")[0], ["NAME", "AGE", "ADDRESS"])
        self.assertEqual(table("ap")[0], ["NAME", "ACTION", "AGE"])
        self.assertEqual(table("pa")[0], ["NAME", "MODE", "AGE"])
        self.assertEqual(next(row for row in table("pa") if row[0] == "default")[1], "STRICT")
        for name in ("gw", "wg", "ra", "telemetry", "sidecar", "envoyfilter", "wasmplugin", "trafficextension"):
            self.assertEqual(table(name)[0], ["NAME", "AGE"], name)
        listed = self.cluster.kubectl("get", "istio-io", "-n", "columns", "-o", "name").split()
        self.assertEqual({name.split(".")[0] for name in listed}, {kind.lower() for kind in KINDS})

    def test_status_is_a_subresource(self):
        body = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "status"},
                "spec": {"mtls": {"mode": "STRICT"}}, "status": {"conditions": []}}
        made = self.cluster.call("POST", self.path("PeerAuthentication"), body)
        self.assertNotIn("status", made)
        conditions = [{"type": "ZtunnelAccepted", "status": "True", "reason": "Accepted", "message": "m",
                       "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": "1"}]
        patched = self.cluster.call("PATCH", self.path("PeerAuthentication") + "/status/status", {
            "spec": {"mtls": {"mode": "DISABLE"}}, "status": {"conditions": conditions, "others": {"own": 1}}},
            content="application/merge-patch+json")
        self.assertEqual(patched["status"], {"conditions": conditions, "others": {"own": 1}})
        self.assertEqual(patched["spec"], {"mtls": {"mode": "STRICT"}})
        self.assertEqual(patched["metadata"]["generation"], 1)


if __name__ == "__main__":
    cluster.main()
