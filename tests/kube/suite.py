"""What suites on nodes begin with: Weft on two nodes, and a namespace in the mesh with the suite's pods."""

import unittest

from mesh import Mesh
from pods import NS, pod
from processes import eventually


class MeshSuite(unittest.TestCase):
    """A suite's class sets what follows; when its tests begin, `mesh` has all of it, Ready and captured."""

    nodes = 2
    dual_stack = False
    namespaces = (NS,)  # in the mesh
    objects = ()

    @classmethod
    def setUpClass(cls):
        cls.mesh = Mesh(nodes=cls.nodes, dual_stack=cls.dual_stack).__enter__()
        cls.addClassCleanup(cls.mesh.close)
        cls.mesh.install()
        for name in cls.namespaces:
            cls.namespace(name)
        cls.prepare()
        if cls.objects:
            cls.mesh.apply(list(cls.objects))
        for name in {one["metadata"]["namespace"] for one in cls.objects if one["kind"] == "Pod"}:
            (cls.mesh.wait_captured if name in cls.namespaces else cls.mesh.wait_pods)(name)

    @classmethod
    def prepare(cls):
        """What a suite makes between its namespaces and its objects."""

    @classmethod
    def namespace(cls, name, enrol=True):
        """A namespace, in the mesh or not, in which pods can be made."""
        cls.mesh.kubectl("create", "namespace", name)
        if enrol:
            cls.mesh.enrol(name)
        cls.mesh.wait_account(name)

    def setUp(self):
        """A pod that is Ready is not yet one that every node was told of."""
        if any(one["kind"] == "Service" and one["metadata"]["name"] == "web" for one in self.objects):
            for one in self.objects:
                if one["metadata"]["name"] in ("ask", "near"):
                    self.works(one["metadata"]["name"])

    def ask(self, client="ask", url="http://web/", namespace=NS):
        """(status, body) of curl in a pod; status 0 where there was no answer."""
        return self.mesh.curl(client, url, namespace=namespace)

    def works(self, client="ask", url="http://web/", namespace=NS, within=30):
        eventually(lambda: self.ask(client, url, namespace)[0] == 200, within, f"{url} from {client}", pause=0.2)

    def get(self, name, namespace=NS):
        return self.mesh.get("pod", name, "-n", namespace)

    def address(self, name, namespace=NS):
        return self.get(name, namespace)["status"]["podIP"]

    def new_pod_is_captured(self, name="new"):
        """A pod that is made now starts, is captured and finds the service."""
        self.addCleanup(self.mesh.kubectl, "delete", "pod", name, "-n", NS, "--grace-period=1")
        self.mesh.apply(pod(name, "kn1"))
        self.mesh.wait_captured(NS, f"app={name}")
        self.works(name)
