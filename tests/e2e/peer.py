"""What runs in the pods of the end-to-end tests: servers of many manners, and clients that print as JSON what
they saw.

    peer.py serve                        all servers below
    peer.py CLIENT HOST PORT [ARGUMENT]  one of the functions in CLIENTS
"""

import concurrent.futures
import hashlib
import http.server
import json
import os
import pathlib
import socket
import struct
import sys
import threading
import time

PATTERN = bytes(range(256)) * 256  # 64 KiB


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line.decode().strip()


def drain(connection):
    """(bytes, SHA-256 in hex) of all that comes until the end of the stream."""
    count, digest = 0, hashlib.sha256()
    while chunk := connection.recv(1 << 20):
        count += len(chunk)
        digest.update(chunk)
    return count, digest.hexdigest()


def pour(connection, count):
    """Sends `count` bytes of the pattern; their SHA-256."""
    digest = hashlib.sha256()
    while count > 0:
        chunk = PATTERN[:count]
        connection.sendall(chunk)
        digest.update(chunk)
        count -= len(chunk)
    return digest.hexdigest()


# Servers: what one does with a connection, by port.

def echo(connection):
    while chunk := connection.recv(65536):
        connection.sendall(chunk)


def greet_first(connection):
    connection.sendall(b"220 ready\r\n")
    echo(connection)


def digest_at_end(connection):
    """Answers only once the client has ended its side: needs half close."""
    connection.sendall(json.dumps(drain(connection)).encode())


def source(connection):
    pour(connection, int(read_line(connection)))


def end_first(connection):
    """Ends its side at once, then reads what the client still sends."""
    connection.sendall(b"bye\n")
    connection.shutdown(socket.SHUT_WR)
    with open("/tmp/.weft-e2e-" + os.environ["HOSTNAME"], "w") as file:
        file.write(json.dumps(drain(connection)))


def reset_after_line(connection):
    read_line(connection)
    reset(connection)


def who(connection):
    """The addresses as the application sees them."""
    connection.sendall(json.dumps({"peer": connection.getpeername()[:2], "own": connection.getsockname()[:2],
                                   "host": os.environ["HOSTNAME"]}).encode())


def report_end(connection):
    """Greets, then notes how the connection ended, for the client of the port behind."""
    connection.sendall(b"!")
    try:
        while connection.recv(65536):
            pass
        ENDS.append("end")
    except ConnectionResetError:
        ENDS.append("reset")


def tell_ends(connection):
    connection.sendall(json.dumps(ENDS).encode())


def never_read(connection):
    time.sleep(60)


ENDS = []
SERVERS = {7001: echo, 7002: greet_first, 7003: digest_at_end, 7004: source, 7005: reset_after_line, 7006: who,
           7007: end_first, 7008: report_end, 7009: tell_ends, 7011: never_read}
MAPPED_PORT = 7010  # who, of both families by one socket
DEFERRED_PORT = 7012  # digest_at_end, accepting only who has said something


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(f"hello from {os.environ['HOSTNAME']}\n".encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(json.dumps([len(body), hashlib.sha256(body).hexdigest()]).encode())

    def log_message(self, form, *args):
        print(self.client_address, form % args)


def serve_one(handle, connection):
    try:
        with connection:
            handle(connection)
    except OSError as problem:
        print("connection ended:", problem)


def listener_on(port, v6=False, both=False):
    """On every address of one family, or of both by one socket, which sees IPv4 addresses as v4-mapped ones."""
    if not v6:
        return socket.create_server(("0.0.0.0", port), backlog=128)
    return socket.create_server(("::", port), family=socket.AF_INET6, backlog=128, dualstack_ipv6=both)


def listen(listener, handle):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_one, args=(handle, connection), daemon=True).start()


class WebV6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


def start(call, *args):
    threading.Thread(target=call, args=args, daemon=True).start()


def echo_datagrams(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", port))
        while True:
            text, sender = server.recvfrom(2048)
            server.sendto(text, sender)


def serve():
    has_v6 = pathlib.Path("/proc/net/if_inet6").exists()
    start(echo_datagrams, 443)  # where QUIC would be
    for port, handle in SERVERS.items():
        for v6 in [False, True][:1 + has_v6]:
            start(listen, listener_on(port, v6), handle)
    deferring = listener_on(DEFERRED_PORT)
    deferring.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 10)
    start(listen, deferring, digest_at_end)
    start(listen, listener_on(MAPPED_PORT, has_v6, both=True), who)
    http.server.ThreadingHTTPServer.request_queue_size = 128
    if has_v6:
        start(WebV6(("::", 8080), Web).serve_forever)
    # Last: its port says that all are there.
    http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Web).serve_forever()


# Clients.

def connect(host, port, seconds=15):
    connection = socket.create_connection((host, int(port)), timeout=seconds)
    return connection


def ask_who(host, port):
    connection = connect(host, port)
    text = b""
    while chunk := connection.recv(4096):
        text += chunk
    return {"server": json.loads(text), "peer": connection.getpeername()[:2], "own": connection.getsockname()[:2]}


def ask_who_mapped(host, port):
    """By an IPv6 socket to an IPv4 address."""
    with socket.socket(socket.AF_INET6) as connection:
        connection.settimeout(15)
        connection.connect((f"::ffff:{host}", int(port)))
        text = b""
        while chunk := connection.recv(4096):
            text += chunk
        return {"server": json.loads(text), "peer": connection.getpeername()[:2], "own": connection.getsockname()[:2]}


def first_line(host, port):
    connection = connect(host, port)
    banner = read_line(connection)
    connection.sendall(b"EHLO\n")
    return {"banner": banner, "echo": read_line(connection)}


def half_close(host, port, count):
    connection = connect(host, port, 60)
    sent = pour(connection, int(count))
    connection.shutdown(socket.SHUT_WR)
    text = b""
    while chunk := connection.recv(4096):
        text += chunk
    return {"sent": sent, "server": json.loads(text)}


def uploads(host, port, times, count, wait=0):
    """As often as told: connects, after a while sends so much, and compares what the server says of it."""
    for turn in range(int(times)):
        connection = connect(host, port, 60)
        time.sleep(float(wait))
        sent = pour(connection, int(count))
        connection.shutdown(socket.SHUT_WR)
        text = b""
        while chunk := connection.recv(4096):
            text += chunk
        assert json.loads(text) == [int(count), sent], (turn, text)
    return {"own": connection.getsockname()[:2]}


def download(host, port, count):
    connection = connect(host, port, 60)
    connection.sendall(f"{count}\n".encode())
    got, digest = drain(connection)
    return {"bytes": got, "sha256": digest}


def both_ways(host, port, count):
    """Sends and receives at the same time, through an echo."""
    connection = connect(host, port, 60)
    sent = {}
    def send():
        sent["sha256"] = pour(connection, int(count))
        connection.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    got, digest = drain(connection)
    sender.join()
    return {"sent": sent["sha256"], "bytes": got, "received": digest}


def late_data(host, port, count):
    """Sends after the server has ended its side."""
    connection = connect(host, port)
    said = read_line(connection)
    end = connection.recv(1)
    sent = pour(connection, int(count))
    connection.close()
    return {"said": said, "end": end == b"", "sent": sent}


def many(host, port, count, parallel):
    """So many connections that each echo a line, so many at a time; why the failed ones failed."""
    failed = []

    def one(_):
        try:
            connection = connect(host, port, 60)
            connection.sendall(b"line\n")
            if read_line(connection) != "line":
                failed.append("no echo")
            connection.close()
        except OSError as error:
            failed.append(repr(error))

    with concurrent.futures.ThreadPoolExecutor(int(parallel)) as pool:
        list(pool.map(one, range(int(count))))
    return {"failed": failed}


def echo_for(host, port, seconds):
    """Sends through an echo without a pause for so long; fails on the first byte that is not its own."""
    connection = connect(host, port, 60)
    end, sent = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        connection.sendall(PATTERN)
        back = b""
        while len(back) < len(PATTERN):
            chunk = connection.recv(len(PATTERN) - len(back))
            if not chunk:
                return {"bytes": sent, "end": "cut"}
            back += chunk
        if back != PATTERN:
            return {"bytes": sent, "end": "wrong bytes"}
        sent += len(PATTERN)
    connection.shutdown(socket.SHUT_WR)
    return {"bytes": sent, "end": "end" if connection.recv(1) == b"" else "bytes"}


def how_it_ends(host, port):
    connection = connect(host, port)
    connection.sendall(b"now\n")
    try:
        return {"end": "end" if connection.recv(1) == b"" else "bytes"}
    except ConnectionResetError:
        return {"end": "reset"}


def do_reset(host, port):
    connection = connect(host, port)
    # A connection that is reset before anyone accepted it never was one to the server.
    assert connection.recv(1) == b"!"
    connection.sendall(b"x")
    reset(connection)
    return {}


def read_all(host, port):
    connection = connect(host, port)
    text = b""
    while chunk := connection.recv(4096):
        text += chunk
    return json.loads(text)


def converse_from(host, port, own_port):
    """converse(), from a port of its own."""
    converse(host, port, ("", int(own_port)))


def converse(host, port, own=None):
    """Echoes each line of standard input through the server; prints "open" first, "ended" at the end."""
    connection = socket.create_connection((host, int(port)), timeout=60, source_address=own)
    print("open", flush=True)
    try:
        for line in sys.stdin:
            connection.sendall(line.encode())
            answer = read_line(connection)
            if not answer:
                break
            print(answer, flush=True)
        else:
            return
    except OSError:
        pass
    print("ended", flush=True)


def watch_end(host, port):
    """Prints "open", then how the connection ends."""
    connection = connect(host, port, 60)
    print("open", flush=True)
    try:
        print("end" if connection.recv(1) == b"" else "bytes", flush=True)
    except OSError:
        print("reset", flush=True)


def hammer(host, port):
    """New connections one after the other, each echoing a line, until standard input ends; then as JSON how many
    there were, and why the failed ones failed."""
    over, failed, count = threading.Event(), [], 0
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    print("open", flush=True)
    while not over.is_set():
        count += 1
        try:
            with connect(host, port, 30) as connection:
                connection.sendall(b"line\n")
                if read_line(connection) != "line":
                    failed.append("no echo")
        except OSError as error:
            failed.append(repr(error))
        over.wait(0.005)
    print(json.dumps({"count": count, "failed": failed}), flush=True)


CLIENTS = {function.__name__: function for function in (
    ask_who, ask_who_mapped, first_line, half_close, uploads, download, both_ways, late_data, how_it_ends, do_reset, read_all, many,
    echo_for)}
STREAMS = {function.__name__: function for function in (converse, converse_from, hammer, watch_end)}

if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    elif sys.argv[1] in STREAMS:
        STREAMS[sys.argv[1]](*sys.argv[2:])
    else:
        print(json.dumps(CLIENTS[sys.argv[1]](*sys.argv[2:])))
