"""What the shop's three services share: a small HTTP/1.1 server that answers GET with JSON."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def serve(routes):
    """Serves on $PORT until it is told to stop.

    routes maps a path's prefix to a function of the rest of the path, which returns what is answered
    as JSON, or None where there is nothing of that name.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, body = 404, {"error": "not found"}
            for prefix, find in routes.items():
                if self.path.startswith(prefix):
                    try:
                        found = find(self.path[len(prefix):])
                    except OSError as problem:
                        status, body = 502, {"error": str(problem)}
                    else:
                        if found is not None:
                            status, body = 200, found
            text = json.dumps(body, separators=(",", ":")).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, form, *args):
            print(f"{self.client_address[0]}:{self.client_address[1]} {form % args}", flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler)
    server.daemon_threads = True
    server.serve_forever()
