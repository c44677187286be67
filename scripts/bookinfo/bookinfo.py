"""The book shop that Istio's documents tell of, in small: productpage, details, reviews (v1, v2, v3) and ratings.

`bookinfo.py SERVICE` serves on $PORT (9080). The same paths, names and behaviour as the documents describe; the text of
the pages is our own. Knows nothing of a mesh, but passes the headers on by which requests are told apart.
"""

import http.cookies
import json
import os
import signal
import sys
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("SERVICE_VERSION", "v1")
PORT = int(os.environ.get("PORT", "9080"))
COLOURS = {"v2": "black", "v3": "red"}
# Who asks, and of which trace: each service hands it to those whom it asks.
PASSED_ON = ("end-user", "user-agent", "x-request-id", "traceparent", "tracestate", "baggage", "b3", "x-b3-traceid",
             "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags")
REVIEWS_TIMEOUT_S = 3   # of the product page, which asks twice
RATINGS_TIMEOUT_S = 10  # of the reviews
BOOK = {"id": 0, "title": "The Comedy of Errors", "descriptionHtml": "A play by William Shakespeare."}
NO_REVIEWS = "Sorry, product reviews are currently unavailable for this book."
NO_DETAILS = "Sorry, product details are currently unavailable for this book."
NO_RATINGS = "Ratings service is currently unavailable"


def ask(request, service, path, timeout, method="GET", body=None):
    """(status, answer as JSON) of another service; status 0 where there was no answer."""
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    if request.user:
        headers["end-user"] = request.user
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{service}:9080{path}", body, headers,
                                                           method=method), timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as problem:
        return problem.code, None
    except (OSError, ValueError):
        return 0, None


class Ratings:
    given = {"Reviewer1": 5, "Reviewer2": 4}

    def get(self, request, path):
        if path[:1] == ["ratings"] and len(path) == 2 and path[1].isdigit():
            return 200, {"id": int(path[1]), "ratings": self.given}
        return None

    def post(self, request, path, body):
        if path[:1] != ["ratings"]:
            return None
        self.given = json.loads(body)
        return 200, {"id": int(path[1]), "ratings": self.given}


class Details:
    def get(self, request, path):
        if path[:1] == ["details"] and len(path) == 2 and path[1].isdigit():
            return 200, {"id": int(path[1]), "author": "William Shakespeare", "year": 1595, "type": "paperback",
                         "pages": 200, "publisher": "PublisherA", "language": "English", "ISBN-10": "1234567890",
                         "ISBN-13": "123-1234567890"}
        return None


class Reviews:
    def get(self, request, path):
        if path[:1] != ["reviews"] or len(path) != 2 or not path[1].isdigit():
            return None
        reviews = [{"reviewer": "Reviewer1", "text": "An extremely entertaining play."},
                   {"reviewer": "Reviewer2", "text": "Absolutely fun and entertaining."}]
        if VERSION in COLOURS:
            status, found = ask(request, "ratings", f"/ratings/{path[1]}", RATINGS_TIMEOUT_S)
            for review in reviews:
                review["rating"] = ({"stars": found["ratings"].get(review["reviewer"], -1), "color": COLOURS[VERSION]}
                                    if status == 200 else {"error": NO_RATINGS})
        return 200, {"id": path[1], "podname": os.environ.get("HOSTNAME", ""), "clustername": "null",
                     "reviews": reviews}


class ProductPage:
    """HTML for people, JSON below /api/v1 for programs."""

    def get(self, request, path):
        if path == ["productpage"]:
            return 200, self.page(request)
        if path[:3] == ["api", "v1", "products"]:
            return self.api(request, path[3:])
        return None

    def post(self, request, path, body):
        if path != ["login"]:
            return None
        user = urllib.parse.parse_qs(body.decode()).get("username", [""])[0]
        return 302, "", {"Location": "/productpage", "Set-Cookie": f"session={user}; Path=/"}

    def reviews(self, request):
        for _ in range(2):
            status, found = ask(request, "reviews", "/reviews/0", REVIEWS_TIMEOUT_S)
            if status == 200:
                return status, found
        return status or 500, {"error": NO_REVIEWS}

    def api(self, request, rest):
        if not rest:
            return 200, [BOOK]
        status, found = {(): lambda: ask(request, "details", "/details/0", 3),
                         ("reviews",): lambda: self.reviews(request),
                         ("ratings",): lambda: ask(request, "ratings", "/ratings/0", 3)}.get(
                             tuple(rest[1:]), lambda: (404, None))()
        return status or 500, found if found is not None else {"error": NO_DETAILS}

    def page(self, request):
        status, details = ask(request, "details", "/details/0", 3)
        lines = [f"<h1>{BOOK['title']}</h1>", f"<p>{BOOK['descriptionHtml']}</p>"]
        lines += [f"<li>{key}: {value}</li>" for key, value in details.items()] if status == 200 else [NO_DETAILS]
        status, found = self.reviews(request)
        if status != 200:
            lines.append(f"<h4>Error fetching product reviews!</h4><p>{NO_REVIEWS}</p>")
        for review in found.get("reviews", ()):
            lines.append(f"<blockquote>{review['text']} {review['reviewer']}</blockquote>")
            rating = review.get("rating", {})
            if "error" in rating:
                lines.append(f"<p>{rating['error']}</p>")
            elif rating:
                star = f'<span class="glyphicon glyphicon-star" style="color:{rating["color"]}"></span>'
                lines.append(star * rating["stars"])
        return "\n".join(lines)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service = None

    @property
    def user(self):
        cookie = http.cookies.SimpleCookie(self.headers.get("Cookie", ""))
        return cookie["session"].value if "session" in cookie else self.headers.get("end-user", "")

    def answer(self, done):
        status, body, headers = (*(done or (404, {"error": "not found"})), {})[:3]
        text = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        headers = {"Content-Type": "text/html" if isinstance(body, str) else "application/json",
                   "Content-Length": str(len(text)), "X-Service-Version": VERSION, **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def path_parts(self):
        return [part for part in urllib.parse.urlsplit(self.path).path.split("/") if part]

    def do_GET(self):
        parts = self.path_parts()
        self.answer((200, {"status": "healthy"}) if parts == ["health"] else self.service.get(self, parts))

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        post = getattr(self.service, "post", None)
        self.answer(post(self, self.path_parts(), body) if post else None)

    def log_message(self, form, *args):
        print(f"{self.client_address[0]}:{self.client_address[1]} {form % args}", flush=True)


def main():
    services = {"productpage": ProductPage, "details": Details, "reviews": Reviews, "ratings": Ratings}
    if sys.argv[1:2] == [] or sys.argv[1] not in services:
        sys.exit(f"usage: bookinfo.py {'|'.join(services)}")
    Handler.service = services[sys.argv[1]]()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("0.0.0.0", PORT), Handler)
    server.daemon_threads = True
    server.serve_forever()


main()
