"""Bookinfo, as Istio's documents tell it: their networking examples, and what they promise."""

import collections
import re
import time

import harness
from harness import HERE, Sandbox, eventually

BOOKINFO = HERE.parents[1] / "scripts/bookinfo"
NETWORKING = BOOKINFO / "networking"
NS = "bookinfo"
WAYPOINT = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "waypoint", "namespace": NS, "labels": {"istio.io/waypoint-for": "service"}},
            "spec": {"gatewayClassName": "istio-waypoint",
                     "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}}
MESH = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS, "labels": {
    "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint"}}}
MANY = 200
STAR = re.compile(r"glyphicon-star\" style=\"color:(\w+)")


class Bookinfo(harness.unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox("book")
        cls.addClassCleanup(cls.box.down)
        cls.box.up(more=("-f", BOOKINFO / "manifests"))
        cls.box.apply(WAYPOINT, MESH)
        cls.box.weft("wait", "--timeout", 60, timeout=90)
        pods = cls.box.weft("get", "pods", "-n", NS).stdout.split()
        cls.client = next(name for name in pods if name.startswith("sleep-"))

    def setUp(self):
        self.applied = []

    def tearDown(self):
        for kind, name in self.applied:
            self.box.weft("delete", kind, name, "-n", NS, check=False)

    def put(self, *files):
        """Applies networking examples by name; they go with the test."""
        for file in files:
            done = self.box.weft("apply", "-f", NETWORKING / f"{file}.yaml")
            text = (NETWORKING / f"{file}.yaml").read_text()
            self.applied += re.findall(r"kind: (\w+)\nmetadata:\n  name: (\S+)", text)
            self.assertNotIn("warning", done.stderr.lower())

    def curl(self, url, *flags, user=None, seconds=30):
        who = ["-H", f"end-user: {user}"] if user else []
        done = self.box.exec(self.client, "curl", "-sS", "-m", str(seconds), *who, *flags, url, ns=NS, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def page(self, user=None):
        return self.curl("http://productpage:9080/productpage", user=user)

    def stars(self, user=None):
        """The colours of the stars on the page."""
        return set(STAR.findall(self.page(user)))

    def status(self, url, user=None):
        return self.curl(url, "-o", "/dev/null", "-w", "%{http_code}", user=user)

    def versions(self, user=None, many=MANY, service="reviews"):
        """How many of many requests each version answered."""
        said = self.curl(f"http://{service}:9080/{service}/0?[1-{many}]", "-o", "/dev/null", "-w",
                         "%{http_code} %header{x-service-version}\n", user=user, seconds=100)
        return collections.Counter(said.splitlines())

    def only(self, version, user=None):
        """Waits until all requests for reviews come to one version, then asks many times."""
        eventually(lambda: set(self.versions(user, 5)) == {f"200 {version}"}, what=f"only {version}")
        self.assertEqual(self.versions(user, 40), {f"200 {version}": 40})

    def share(self, version, percent):
        """The share of a version, within four standard deviations."""
        def settled():
            seen = self.versions()
            self.assertEqual(sum(seen.values()), MANY)
            part = seen[f"200 {version}"] / MANY
            deviation = (percent / 100 * (1 - percent / 100) / MANY) ** 0.5
            self.assertLessEqual(abs(part - percent / 100), 4 * deviation, seen)
            return True
        eventually(settled, within=20, what=f"{percent} % to {version}")

    def test_everything_to_v1_then_jason_to_v2(self):
        self.put("destination-rule-all", "virtual-service-all-v1")
        self.only("v1")
        self.assertEqual((self.stars(), self.stars("jason")), (set(), set()))
        self.put("virtual-service-reviews-test-v2")
        self.only("v2", "jason")
        self.only("v1")
        self.assertEqual((self.stars(), self.stars("jason")), (set(), {"black"}))
        self.put("virtual-service-reviews-jason-v2-v3")
        self.only("v3")
        self.assertEqual((self.stars(), self.stars("jason")), ({"red"}, {"black"}))

    def test_shares(self):
        self.put("destination-rule-all")
        for file, version, percent in (("90-10", "v2", 10), ("80-20", "v2", 20), ("50-v3", "v3", 50), ("v2-v3", "v3", 50),
                                       ("v3", "v3", 100)):
            with self.subTest(file):
                self.put(f"virtual-service-reviews-{file}")
                self.share(version, percent)

    def test_a_delay_makes_the_page_give_up(self):
        self.put("destination-rule-all", "virtual-service-all-v1", "virtual-service-reviews-test-v2")
        self.only("v2", "jason")
        self.put("virtual-service-ratings-test-delay")

        def is_delayed():
            began = time.monotonic()
            self.assertEqual(self.status("http://ratings:9080/ratings/0", "jason"), "200")
            return time.monotonic() - began >= 7
        eventually(is_delayed, what="seven seconds")
        # Two tries of three seconds: reviews would have waited for ten.
        began = time.monotonic()
        self.assertIn("product reviews are currently unavailable", self.page("jason"))
        self.assertGreaterEqual(time.monotonic() - began, 6)
        self.assertIn("extremely entertaining", self.page())

    def test_an_abort_takes_the_stars(self):
        self.put("destination-rule-all", "virtual-service-all-v1", "virtual-service-reviews-test-v2",
                 "virtual-service-ratings-test-abort")
        eventually(lambda: self.status("http://ratings:9080/ratings/0", "jason") == "500")
        eventually(lambda: "Ratings service" in self.page("jason"))
        self.assertEqual(self.status("http://ratings:9080/ratings/0"), "200")
        self.assertIn("Ratings service is currently unavailable", self.page("jason"))
        self.put("fault-injection-details-v1")
        eventually(lambda: self.status("http://details:9080/details/0") == "555")
        self.assertIn("product details are currently unavailable", self.page())

    def test_a_version_without_pods_is_no_healthy_upstream(self):
        self.put("destination-rule-all")
        for file in ("virtual-service-ratings-db", "virtual-service-ratings-mysql", "virtual-service-ratings-mysql-vm"):
            with self.subTest(file):
                self.put(file)
                eventually(lambda: self.status("http://ratings:9080/ratings/0") == "503")
                self.only("v3")
        self.put("virtual-service-details-v2")
        eventually(lambda: self.status("http://details:9080/details/0") == "503")
        self.assertIn("no healthy upstream", self.curl("http://details:9080/details/0"))

    def test_rules_without_routes(self):
        for file in ("destination-rule-reviews", "destination-rule-all-mtls"):
            with self.subTest(file):
                self.put(file)
                seen = self.versions()
                self.assertEqual(set(seen), {"200 v1", "200 v2", "200 v3"}, seen)
                self.assertGreater(min(seen.values()), MANY / 3 * 0.6, seen)

    def test_the_same_by_http_routes(self):
        self.put("gateway-api/versions", "gateway-api/route-all-v1")
        self.only("v1")
        for file, version, percent in (("90-10", "v2", 10), ("50-v3", "v3", 50), ("v3", "v3", 100)):
            with self.subTest(file):
                self.put(f"gateway-api/route-reviews-{file}")
                self.share(version, percent)
        self.assertEqual(self.stars(), {"red"})


if __name__ == "__main__":
    harness.main()
