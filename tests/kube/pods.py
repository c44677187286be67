"""Pods and Services of suites on nodes, as objects: a server, and clients that sleep until they are told."""

NS = "app"
# Answers with the address that it sees; dies with the status that it is asked for, at /exit.
SERVER = """
import http.server, os, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/exit': os._exit(3)
        body = self.client_address[0].encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers()
        self.wfile.write(body); print('asked', self.path, flush=True)
http.server.ThreadingHTTPServer(('', int(sys.argv[1])), H).serve_forever()
"""


def container(name="main", port=None, **more):
    """A container of the shop's client image: it sleeps or, with a port, serves there and says when it is ready."""
    command = ["python3", "-u", "-c", SERVER, str(port)] if port else ["sleep", "infinity"]
    probe = {"readinessProbe": {"httpGet": {"path": "/ready", "port": port}, "periodSeconds": 1}} if port else {}
    return {"name": name, "image": "docker.io/shop/client:1.0", "command": command, **probe, **more}


def pod(name, node, *containers, namespace=NS, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1,
                     "containers": list(containers) or [container()], **spec}}


def service(name, port, target, namespace=NS):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port, "targetPort": target}]}}
