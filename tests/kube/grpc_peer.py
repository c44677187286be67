"""A node's side of control's two protocols, xDS and CA, on python3-h2 and ssl: none of ours.

    peer = Peer(lambda: cluster.socket(address, 15012), roots, "weft-control.weft-system.svc", token)
    leaf = peer.certificate("spiffe://cluster.local/ns/shop/sa/web")     # raises Refused
    stream = peer.stream(); stream.subscribe(ADDRESS); stream.wait(lambda s: len(s.resources) == 3)

Protobuf is written and read by hand: the handful of fields that are needed.
"""

import select
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions

ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"
CODES = {"3": "INVALID_ARGUMENT", "7": "PERMISSION_DENIED", "8": "RESOURCE_EXHAUSTED", "12": "UNIMPLEMENTED",
         "14": "UNAVAILABLE", "16": "UNAUTHENTICATED"}


class Refused(Exception):
    """A call's status that is not OK: code is its name."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def varint(number):
    text = b""
    while number > 0x7F:
        text += bytes([number & 0x7F | 0x80])
        number >>= 7
    return text + bytes([number])


def field(number, value):
    """A string, bytes or number as the field of that number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(message):
    """(number, value) of a message's fields, in order; values are bytes or numbers."""
    at = 0

    def read():
        nonlocal at
        number, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number
    while at < len(message):
        tag = read()
        if tag & 7 == 0:
            yield tag >> 3, read()
        else:
            assert tag & 7 == 2, f"wire type {tag & 7}"
            size = read()
            yield tag >> 3, message[at:at + size]
            at += size


def csr(identity):
    """A certificate request (PEM) with a fresh key for a SPIFFE id."""
    with tempfile.NamedTemporaryFile() as key:
        return subprocess.run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
             key.name, "-subj", "/", "-addext", f"subjectAltName=critical,URI:{identity}"],
            check=True, capture_output=True, text=True).stdout


class Call:
    """One HTTP/2 connection with one gRPC call on it. A thread reads what comes."""

    def __init__(self, dial, roots, name, path, token):
        context = ssl.create_default_context(cadata=roots)
        context.set_alpn_protocols(["h2"])
        self._socket = context.wrap_socket(dial(), server_hostname=name)
        self._socket.setblocking(False)  # an SSL object is for one thread at a time: see _lock
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._lock, self.changed = threading.Lock(), threading.Condition()
        self.messages, self.status, self.goaway, self._held = [], None, False, b""
        self._h2.initiate_connection()
        headers = [(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", name),
                   ("te", "trailers"), ("content-type", "application/grpc")]
        if token is not None:
            headers.append(("authorization", f"Bearer {token}"))
        self._id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._id, headers)
        self._flush()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def send(self, message, last=False):
        with self._lock:
            data = b"\0" + len(message).to_bytes(4, "big") + message
            try:
                self._h2.send_data(self._id, data, end_stream=last)
                self._flush()
            except (h2.exceptions.ProtocolError, OSError):
                pass  # the call has ended: wait() tells how

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join()
        self._socket.close()

    def wait(self, done, within=30.0):
        """Until done() is true, or the call has ended (then Refused is raised)."""
        end = time.monotonic() + within
        with self.changed:
            while not done():
                if self.status is not None:
                    raise Refused(*self.status)
                left = end - time.monotonic()
                assert left > 0, f"nothing after {within} s"
                self.changed.wait(left)

    def _flush(self):
        data = self._h2.data_to_send()
        while data:
            try:
                data = data[self._socket.send(data):]
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                select.select([], [self._socket], [], 1)

    def _receive(self):
        """What came; empty at the end."""
        while True:
            with self._lock:
                try:
                    return self._socket.recv(65536)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
                except (OSError, ValueError):
                    return b""
            select.select([self._socket], [], [], 60)

    def _read(self):
        while True:
            data = self._receive()
            with self.changed, self._lock:
                try:
                    for event in self._h2.receive_data(data) if data else []:
                        self._take(event)
                except h2.exceptions.ProtocolError:  # h2 takes nothing more after GOAWAY
                    data = b""
                if not data and self.status is None:
                    self.status = ("UNAVAILABLE", "the connection ended")
                self.changed.notify_all()
                try:
                    self._flush()
                except OSError:
                    pass
            if not data:
                return

    def _take(self, event):
        if isinstance(event, h2.events.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._held += event.data
            while len(self._held) >= 5 and len(self._held) >= 5 + int.from_bytes(self._held[1:5], "big"):
                size = int.from_bytes(self._held[1:5], "big")
                self.message(self._held[5:5 + size])
                self._held = self._held[5 + size:]
        elif isinstance(event, (h2.events.TrailersReceived, h2.events.ResponseReceived)):
            headers = dict(event.headers)
            if "grpc-status" in headers:
                code = headers["grpc-status"]
                self.status = (CODES.get(code, "OK" if code == "0" else code), headers.get("grpc-message", ""))
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = True
        elif isinstance(event, h2.events.StreamReset) and self.status is None:
            self.status = ("UNAVAILABLE", f"stream reset {event.error_code}")

    def message(self, text):
        self.messages.append(text)


class Stream(Call):
    """A delta ADS stream: resources holds, by type, what the server says there is (name -> version)."""

    def __init__(self, *arguments):
        self.resources, self.pushes, self.bytes = {}, 0, 0
        super().__init__(*arguments)

    def subscribe(self, type_url):
        self.resources.setdefault(type_url, {})
        self.send(field(1, field(1, "test")) + field(2, type_url))
        return self

    def message(self, text):
        type_url, nonce, here, gone = "", "", {}, []
        for number, value in fields(text):
            if number == 2:
                one = dict(fields(value))
                here[one[3].decode()] = one.get(1, b"").decode()
            elif number == 4:
                type_url = value.decode()
            elif number == 5:
                nonce = value.decode()
            elif number == 6:
                gone.append(value.decode())
        mine = self.resources.setdefault(type_url, {})
        mine.update(here)
        for name in gone:
            mine.pop(name, None)
        self.pushes += 1
        self.bytes += len(text)
        threading.Thread(target=self.send, args=(field(2, type_url) + field(6, nonce),)).start()

    def of(self, type_url):
        return self.resources.get(type_url, {})


class Peer:
    def __init__(self, dial, roots, name, token):
        self._dial, self._roots, self._name, self.token = dial, roots, name, token

    def certificate(self, identity, request=None):
        """The PEM chain that control gives for the identity; raises Refused."""
        call = Call(self._dial, self._roots, self._name,
                    "/istio.v1.auth.IstioCertificateService/CreateCertificate", self.token)
        try:
            text = field(3, identity)  # Value.string_value
            impersonated = field(1, "ImpersonatedIdentity") + field(2, text)
            call.send(field(1, request or csr(identity)) + field(2, field(1, impersonated)) + field(3, 3600),
                      last=True)
            call.wait(lambda: call.status is not None and call.status[0] == "OK")
            return [value.decode() for number, value in fields(call.messages[0]) if number == 1]
        finally:
            call.close()

    def stream(self):
        return Stream(self._dial, self._roots, self._name,
                      "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", self.token)
