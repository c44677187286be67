"""A server of HTTP that does what a test tells it, on port 8080 of its pod.

    GET  /...                          200 "hello from <pod>\n", unless told otherwise
    POST /will?status=S&times=N        the next N answers are of that status
    POST /will?seconds=S&times=N       the next N answers come after so long
    GET  /seen                         as JSON: the method and path of all requests but these
"""

import http.server
import json
import os
import threading
import time
import urllib.parse


class Told:
    lock = threading.Lock()
    status = 200
    seconds = 0.0
    times = 0
    seen = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urllib.parse.urlsplit(self.path)
        told = dict(urllib.parse.parse_qsl(url.query))
        status, seconds = 200, 0.0
        with Told.lock:
            if url.path == "/seen":
                return self.answer(200, json.dumps(Told.seen).encode())
            if url.path == "/will":
                Told.status = int(told.get("status", 200))
                Told.seconds = float(told.get("seconds", 0))
                Told.times = int(told.get("times", 1))
                Told.seen.clear()
                return self.answer(200, b"yes\n")
            Told.seen.append(f"{self.command} {self.path}")
            if Told.times > 0:
                Told.times -= 1
                status, seconds = Told.status, Told.seconds
        time.sleep(seconds)
        self.answer(status, f"hello from {os.environ['HOSTNAME']}\n".encode())

    do_GET = do_POST = handle_any

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("", 8080), Handler).serve_forever()
