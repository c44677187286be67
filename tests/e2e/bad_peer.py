"""A peer of port 15008 that behaves badly, in one way at a time. Says as JSON what became of it.

    bad_peer.py CASE HOST FOLDER      FOLDER holds NAME.pem (chain and key) and roots.pem
"""

import json
import os
import socket
import ssl
import sys
import time

import hpack

PORT = 15008
PATIENCE_S = 60
MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HOST, FOLDER = sys.argv[2:4] if len(sys.argv) > 3 else ("", "")


def tcp():
    return socket.create_connection((HOST, PORT), timeout=PATIENCE_S)


def context(certificate="good", alpn=("h2",), version=ssl.TLSVersion.TLSv1_3):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    if alpn:
        made.set_alpn_protocols(list(alpn))
    if certificate:
        made.load_cert_chain(f"{FOLDER}/{certificate}.pem")
    return made


def tls(**how):
    return context(**how).wrap_socket(tcp())


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def settings(**values):
    codes = {"window": 4, "frame": 5}
    payload = b"".join(codes[name].to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values.items())
    return frame(SETTINGS, 0, 0, payload)


def connect_headers(authority, *more, method="CONNECT"):
    return hpack.Encoder().encode([(":method", method), (":authority", authority), *more], huffman=False)


def request(stream, authority, *more, method="CONNECT", flags=END_HEADERS):
    return frame(HEADERS, flags, stream, connect_headers(authority, *more, method=method))


def until_closed(connection):
    """Reads until the other side ends or breaks the connection; how it did, and the frames it sent."""
    seen = b""
    try:
        while chunk := connection.recv(65536):
            seen = (seen + chunk)[-65536:]
        return "closed", seen
    except ssl.SSLError as error:
        return f"alert: {error.reason}", seen
    except TimeoutError:
        return "still open", seen
    except OSError as error:
        return f"closed: {error.__class__.__name__}", seen


class Session:
    """HTTP/2 by hand, just enough to be wrong in a chosen place."""

    def __init__(self, **values):
        self.tls = tls()
        self.tls.sendall(MAGIC + settings(**values))
        self.pending = b""
        self.decoder = hpack.Decoder()

    def send(self, data):
        self.tls.sendall(data)

    def read_frame(self):
        while len(self.pending) < 9 or len(self.pending) < 9 + int.from_bytes(self.pending[:3], "big"):
            chunk = self.tls.recv(65536)
            if not chunk:
                raise EOFError
            self.pending += chunk
        size = int.from_bytes(self.pending[:3], "big")
        kind, flags, stream = self.pending[3], self.pending[4], int.from_bytes(self.pending[5:9], "big")
        payload, self.pending = self.pending[9:9 + size], self.pending[9 + size:]
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        if kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        return kind, flags, stream, payload

    def outcome(self, stream):
        """A stream's status, "reset N", or how the connection ended: "goaway N", "closed"."""
        try:
            while True:
                kind, _, of, payload = self.read_frame()
                if kind == HEADERS and of == stream:
                    return dict(self.decoder.decode(payload))[":status"]
                if kind == HEADERS:
                    self.decoder.decode(payload)
                if kind == RST and of == stream:
                    return f"reset {int.from_bytes(payload, 'big')}"
                if kind == GOAWAY:
                    return f"goaway {int.from_bytes(payload[4:8], 'big')}"
        except EOFError:
            return "closed"
        except ssl.SSLError as error:
            return f"alert: {error.reason}"
        except TimeoutError:
            return "still open"
        except OSError as error:
            return f"closed: {error.__class__.__name__}"


# ------------------------------------------------------------------------------------------- before TLS


def garbage():
    connection = tcp()
    try:
        connection.sendall(os.urandom(1 << 16))
    except OSError:
        pass
    return until_closed(connection)[0]


def client_hello():
    outgoing = ssl.MemoryBIO()
    hello = context().wrap_bio(ssl.MemoryBIO(), outgoing)
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def silent():
    return until_closed(tcp())[0]


def half_hello():
    connection = tcp()
    hello = client_hello()
    connection.sendall(hello[:len(hello) // 2])
    return until_closed(connection)[0]


def dribble(connection, data):
    """A byte a second, until the other side has enough of it."""
    connection.settimeout(1)
    start = time.monotonic()
    for index in range(len(data)):
        if time.monotonic() - start > PATIENCE_S:
            break
        try:
            connection.sendall(data[index:index + 1])
            while connection.recv(65536):
                pass
            return "closed"
        except TimeoutError:
            pass
        except ssl.SSLError as error:
            return f"alert: {error.reason}"
        except OSError as error:
            return f"closed: {error.__class__.__name__}"
    return "still open"


def slow_hello():
    return dribble(tcp(), client_hello())


def long_record():
    connection = tcp()
    connection.sendall(b"\x16\x03\x01\xff\xff" + bytes(70000))
    return until_closed(connection)[0]


# A handshake's refusal comes, in TLS 1.3, with the first read.
def handshake(**how):
    try:
        return until_closed(tls(**how))[0]
    except ssl.SSLError as error:
        return f"alert: {error.reason}"
    except OSError as error:
        return f"closed: {error.__class__.__name__}"


# ------------------------------------------------------------------------------------------ after TLS


def slow_preface():
    return dribble(tls(), MAGIC + settings())


def no_preface():
    return until_closed(tls())[0]


def http1():
    connection = tls()
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return until_closed(connection)[0]


def asks(authority, *more, method="CONNECT"):
    session = Session()
    session.send(request(1, authority.replace("HOST", HOST), *more, method=method))
    first = session.outcome(1)
    if "closed" in first or "goaway" in first:
        return first
    session.send(request(3, f"{HOST}:7006"))  # the connection itself is still good
    return f"{first}, then {session.outcome(3)}"


def long_header():
    """1 MB in one header block."""
    session = Session()
    block = connect_headers(f"{HOST}:7006", ("baggage", "x" * (1 << 20)))
    try:
        session.send(frame(HEADERS, 0, 1, block[:16000]))
        for at in range(16000, len(block), 16000):
            session.send(frame(CONTINUATION, END_HEADERS if at + 16000 >= len(block) else 0, 1,
                               block[at:at + 16000]))
    except OSError:
        pass
    return session.outcome(1)


def endless_headers():
    """CONTINUATION after CONTINUATION, each of them empty."""
    session = Session()
    session.send(request(1, f"{HOST}:7006", flags=0))
    try:
        for _ in range(1000):
            session.send(frame(CONTINUATION, 0, 1) * 100)
    except OSError:
        pass
    return session.outcome(1)


def slow_headers():
    session = Session()
    return dribble(session.tls, request(1, f"{HOST}:7006", ("baggage", "x" * 5000)))


def rapid_resets():
    session = Session()
    try:
        for first in range(1, 20001, 200):
            session.send(b"".join(request(stream, f"{HOST}:7001") + frame(RST, 0, stream, b"\0\0\0\x08")
                                  for stream in range(first, first + 200, 2)))
    except OSError:
        pass
    return session.outcome(0)


def flood(data, count):
    """Sends and never reads."""
    session = Session()
    session.tls.settimeout(20)
    try:
        for _ in range(count):
            session.send(data * 1000)
    except TimeoutError:
        pass
    except OSError:
        return "closed"
    return session.outcome(0)


def window_overflow():
    session = Session()
    session.send(frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff"))
    return session.outcome(0)


def overrun():
    """More bytes than the window that was offered, to an application that does not read."""
    session = Session()
    session.send(request(1, f"{HOST}:7011"))
    if (status := session.outcome(1)) != "200":
        return status
    try:
        for _ in range(48 << 6):
            session.send(frame(DATA, 0, 1, bytes(16384)))
    except OSError:
        pass
    return session.outcome(1)


def pour(session, seconds=4):
    """Asks for 256 MB, and then does not take them."""
    session.send(request(1, f"{HOST}:7004"))
    if (status := session.outcome(1)) != "200":
        return status
    session.send(frame(DATA, 0, 1, b"268435456\n"))
    time.sleep(seconds)
    return "held"


def shut_window():
    return pour(Session(window=0))


def never_reads():
    session = Session(window=(1 << 31) - 1)
    session.send(frame(WINDOW, 0, 0, (1 << 30).to_bytes(4, "big")))
    return pour(session)


def many_connections():
    """Connections that say nothing, more at once than a ztunnel waits for."""
    connections = [tcp() for _ in range(3000)]
    ends = [until_closed(one)[0] for one in connections]
    return f"{len(ends)} {sorted(set(end.split(':')[0] for end in ends))}"


CASES = {
    "garbage": garbage, "silent": silent, "half_hello": half_hello, "slow_hello": slow_hello,
    "long_record": long_record, "many_connections": many_connections,
    "tls12": lambda: handshake(version=ssl.TLSVersion.TLSv1_2),
    "no_certificate": lambda: handshake(certificate=None),
    "no_alpn": lambda: handshake(alpn=()), "wrong_alpn": lambda: handshake(alpn=("http/1.1",)),
    **{name: lambda name=name: handshake(certificate=name)
       for name in ("expired", "not_yet", "self_signed", "other_domain", "two_names", "no_name", "server_only")},
    "slow_preface": slow_preface, "no_preface": no_preface, "http1": http1,
    "elsewhere": lambda: asks("192.0.2.77:80"), "elsewhere6": lambda: asks("[fd00::77]:80"),
    "own_port": lambda: asks("HOST:15008"), "port_0": lambda: asks("HOST:0"), "no_port": lambda: asks("HOST"),
    "host_name": lambda: asks("web.mesh:80"), "bad_authority": lambda: asks("a b:80"),
    "no_brackets": lambda: asks("fd00::77:80"),
    "with_path": lambda: asks("HOST:7006", (":path", "/")),
    "with_scheme": lambda: asks("HOST:7006", (":scheme", "https")),
    "upper_case": lambda: asks("HOST:7006", ("Baggage", "x")),
    "get": lambda: asks("HOST:7006", (":scheme", "https"), (":path", "/"), method="GET"),
    "many_headers": lambda: asks("HOST:7006", *((f"x-{index}", "v") for index in range(200))),
    "long_header": long_header, "endless_headers": endless_headers, "slow_headers": slow_headers,
    "rapid_resets": rapid_resets, "settings_flood": lambda: flood(settings(), 600),
    "ping_flood": lambda: flood(frame(PING, 0, 0, bytes(8)), 600),
    "window_overflow": window_overflow, "overrun": overrun, "shut_window": shut_window,
    "never_reads": never_reads,
}


def main():
    start = time.monotonic()
    outcome = CASES[sys.argv[1]]()
    print(json.dumps({"outcome": outcome, "seconds": round(time.monotonic() - start, 2)}))


if __name__ == "__main__":
    main()
