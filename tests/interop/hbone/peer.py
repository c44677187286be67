#!/usr/bin/env python3
"""HBONE spoken by other libraries: python's ssl and h2, so that ours is not only tested against itself.

serve    a server that says as one JSON object a line what it saw; what it does with a CONNECT, the
         port of the authority tells (see PORTS)
connect  a client that opens streams to a server of ours and says what came of them

Both are strict about the facts of the protocol (reference: ztunnel.md 1.1): TLS 1.3, ALPN h2, no server
name, both certificates; :method and :authority and no other pseudo header; no padding.
"""
import argparse
import json
import socket
import ssl
import sys
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from cryptography import x509

KINDS = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
         "CONTINUATION")
KINDS = dict(enumerate(KINDS))
LABELS = {"baggage", "forwarded", "traceparent"}
TIMEOUT_S = 30
OUTPUT = threading.Lock()


def say(**fields):
    with OUTPUT:
        print(json.dumps(fields, sort_keys=True), flush=True)


def context_of(arguments, side):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if side == "server" else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(arguments.certificate, arguments.key)
    context.load_verify_locations(arguments.roots)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


def identities(tls):
    certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def text(headers):
    return [[name.decode(), value.decode()] for name, value in headers]


class Session:
    """An HTTP/2 connection with blocking reads; sends what flow control lets it, the rest later."""

    def __init__(self, tls, client_side):
        self.tls = tls
        config = h2.config.H2Configuration(
            client_side=client_side, header_encoding=None, validate_inbound_headers=False,
            validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.waiting = {}  # stream -> [bytes, end]
        self.goaways = []  # (last stream, error) of each
        self.kinds = set()  # of the frames that came, with their flags: "HEADERS 4", ..
        self.raw = b""
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.tls.sendall(data)

    def read(self):
        """The next events; None at the end of the connection."""
        data = self.tls.recv(65536)
        if not data:
            return None
        events = self.h2.receive_data(self.without_goaways(data))
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                if event.flow_controlled_length != len(event.data):
                    raise ValueError("a padded frame")
                if event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.pump()
        self.flush()
        return events

    def without_goaways(self, data):
        """python's h2 takes a GOAWAY for the end of everything; streams that are open go on after it."""
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        self.raw += data
        whole = b""
        if self.raw.startswith(preface):
            whole, self.raw = preface, self.raw[len(preface):]
        while len(self.raw) >= 9 and len(self.raw) >= 9 + (size := int.from_bytes(self.raw[:3], "big")):
            frame, self.raw = self.raw[:9 + size], self.raw[9 + size:]
            self.kinds.add(f"{KINDS.get(frame[3], frame[3])} {frame[4]}")
            if frame[3] == 7:
                self.goaways.append((int.from_bytes(frame[9:13], "big"), int.from_bytes(frame[13:17], "big")))
                self.on_goaway()
            else:
                whole += frame
        return whole

    def on_goaway(self):
        pass

    def send(self, stream, data, end=False):
        entry = self.waiting.setdefault(stream, [b"", False])
        entry[0] += data
        entry[1] = entry[1] or end
        self.pump()
        self.flush()

    def pump(self):
        for stream, entry in list(self.waiting.items()):
            try:
                while True:
                    room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
                    piece = entry[0][:room]
                    last = entry[1] and len(piece) == len(entry[0])
                    if not piece and not last:
                        break
                    self.h2.send_data(stream, piece, end_stream=last)
                    entry[0] = entry[0][len(piece):]
                    if last:
                        del self.waiting[stream]
                        break
                    if not entry[0]:
                        break
            except h2.exceptions.StreamClosedError:
                del self.waiting[stream]


# ---------------------------------------------------------------------------------------------- serve

# What a CONNECT to this port gets: 7 is echo. Others:
ABORT, END_FIRST, GOAWAY, VANISH, DENY, COUNT = 8, 9, 10, 11, 401, 12
PING_US, LONG_ANSWER, LONG_ENOUGH = 13, 14, 15
ECHOES = (7, GOAWAY, PING_US, LONG_ENOUGH)
PING_DATA = b"8 bytes!"
# With the other fields of the answer, 200 bytes below and 200 above 16 KiB as RFC 9113, 6.5.2 counts.
FILLERS = {LONG_ANSWER: 16384, LONG_ENOUGH: 16000}


class Server(Session):
    def __init__(self, tls):
        super().__init__(tls, client_side=False)
        self.ports = {}
        self.counts = {}
        self.largest = 0

    def serve(self):
        while True:
            events = self.read()
            if events is None:
                break
            for event in events:
                self.handle(event)
            self.flush()
        say(event="end", largest_data=self.largest, frames=sorted(self.kinds))

    def handle(self, event):
        if isinstance(event, h2.events.RemoteSettingsChanged):
            say(event="settings",
                values={int(code): change.new_value for code, change in event.changed_settings.items()})
        elif isinstance(event, h2.events.WindowUpdated) and event.stream_id == 0:
            say(event="window", delta=event.delta)
        elif isinstance(event, h2.events.PingReceived):
            say(event="ping", bytes=len(event.ping_data))
        elif isinstance(event, h2.events.PingAckReceived):
            say(event="ping answered", same=event.ping_data == PING_DATA)
        elif isinstance(event, h2.events.TrailersReceived):
            say(event="broken", error="trailers")
        elif isinstance(event, h2.events.RequestReceived):
            self.on_request(event)
        elif isinstance(event, h2.events.DataReceived):
            self.on_data(event)
        elif isinstance(event, h2.events.StreamEnded):
            self.on_end(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            say(event="reset", error=int(event.error_code), port=self.ports.get(event.stream_id))

    def on_goaway(self):
        say(event="goaway", error=self.goaways[-1][1])

    def on_request(self, event):
        headers = text(event.headers)
        names = [name for name, _ in headers]
        wrong = []
        if names[:2] != [":method", ":authority"] or headers[0][1] != "CONNECT":
            wrong.append("not a plain CONNECT")
        if len(set(names)) != len(names) or not set(names[2:]) <= LABELS:
            wrong.append("unexpected headers")
        say(event="request", headers=headers, wrong=wrong)
        port = int(headers[1][1].rsplit(":", 1)[1])
        stream = event.stream_id
        self.ports[stream] = port
        self.counts[stream] = 0
        status = b"401" if port == DENY else b"200"
        filler = [(b"x-filler", b"x" * FILLERS[port])] if port in FILLERS else []
        self.h2.send_headers(stream, [(b":status", status), (b"baggage", b"service.name=python"), *filler],
                             end_stream=port == DENY)
        if port == PING_US:
            self.h2.ping(PING_DATA)
        if port == END_FIRST:
            self.send(stream, b"the server ends first", end=True)
        elif port == GOAWAY:
            # Not close_connection(): python's h2 would take the rest of the streams for errors.
            self.flush()
            self.tls.sendall(b"\0\0\x08\x07\0\0\0\0\0" + stream.to_bytes(4, "big") + bytes(4))
        elif port == VANISH:
            self.flush()
            self.tls.close()

    def on_data(self, event):
        stream, port = event.stream_id, self.ports[event.stream_id]
        self.largest = max(self.largest, len(event.data))
        self.counts[stream] += len(event.data)
        if port == ABORT:
            if stream not in self.waiting:
                self.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
                self.waiting[stream] = [b"", False]
        elif port in ECHOES:
            self.send(stream, event.data)

    def on_end(self, stream):
        port = self.ports[stream]
        say(event="stream ended", port=port, bytes=self.counts[stream])
        if port in ECHOES:
            self.send(stream, b"", end=True)
        elif port == COUNT:
            self.send(stream, str(self.counts[stream]).encode(), end=True)


def serve_one(context, raw):
    try:
        names = []
        context.sni_callback = lambda _socket, name, _context: names.append(name)
        raw.settimeout(TIMEOUT_S)
        tls = context.wrap_socket(raw, server_side=True)
        say(event="tls", version=tls.version(), alpn=tls.selected_alpn_protocol(), cipher=tls.cipher()[0],
            server_names=[name for name in names if name is not None], identities=identities(tls),
            resumed=tls.session_reused)
        Server(tls).serve()
    except (OSError, ValueError) as error:
        say(event="broken", error=str(error))


def serve(arguments):
    context = context_of(arguments, "server")
    listener = socket.create_server(("127.0.0.1", 0))
    say(event="listening", port=listener.getsockname()[1])
    while True:
        raw, _ = listener.accept()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve_one, args=(context, raw), daemon=True).start()


# -------------------------------------------------------------------------------------------- connect


def pattern(size, seed):
    return bytes((i * 31 + seed * 17 + (i >> 8)) & 0xFF for i in range(size))


class Client(Session):
    def __init__(self, tls):
        super().__init__(tls, client_side=True)
        self.streams = {}
        self.settings = {}

    def open(self, headers, end=False):
        stream = self.h2.get_next_available_stream_id()
        self.streams[stream] = {"status": None, "headers": None, "data": b"", "ended": False, "reset": None}
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def connect(self, authority, labels=()):
        return self.open([(b":method", b"CONNECT"), (b":authority", authority.encode()), *labels])

    def until(self, done):
        while not done():
            events = self.read()
            if events is None:
                return False
            for event in events:
                self.note(event)
        return True

    def note(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings.update({int(c): s.new_value for c, s in event.changed_settings.items()})
        elif stream is None:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            stream["headers"] = text(event.headers)
            stream["status"] = dict(stream["headers"])[":status"]
        elif isinstance(event, h2.events.DataReceived):
            stream["data"] += event.data
        elif isinstance(event, h2.events.StreamEnded):
            stream["ended"] = True
        elif isinstance(event, h2.events.StreamReset):
            stream["reset"] = int(event.error_code)

    def over(self, stream):
        return self.streams[stream]["ended"] or self.streams[stream]["reset"] is not None


def echo(client, authority):
    """Many streams at once, each with its own bytes, half closed when sent."""
    sent = {}
    for index in range(20):
        stream = client.connect(authority)
        sent[stream] = pattern(index * 40_000, index)
        client.send(stream, sent[stream], end=True)
    alive = client.until(lambda: all(client.over(stream) for stream in sent))
    return {"alive": alive,
            "same": all(client.streams[stream]["data"] == data for stream, data in sent.items()),
            "statuses": sorted({client.streams[stream]["status"] for stream in sent}),
            "headers": client.streams[min(sent)]["headers"]}


def reset(client, authority):
    """Resets one stream; another goes on."""
    first, second = client.connect(authority), client.connect(authority)
    client.send(first, b"going to be reset")
    client.until(lambda: client.streams[first]["data"] != b"")
    client.h2.reset_stream(first, h2.errors.ErrorCodes.CANCEL)
    client.send(second, b"still here", end=True)
    client.until(lambda: client.over(second))
    return {"second": client.streams[second]["data"].decode()}


def malformed(client, authority):
    """Requests that no handler may see; the status of each, or how it was reset."""
    connect, host = (b":method", b"CONNECT"), (b":authority", authority.encode())
    requests = {
        "get": [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), host],
        "no port": [connect, (b":authority", b"10.0.0.1")],
        "port 0": [connect, (b":authority", b"10.0.0.1:0")],
        "no authority": [connect],
        "with path": [connect, host, (b":path", b"/")],
        "with scheme": [connect, host, (b":scheme", b"https")],
        "upper case": [connect, host, (b"Baggage", b"x")],
        "over 64 KiB": [connect, host, (b"x-filler", b"x" * 65536)],
    }
    answers = {}
    for name, headers in requests.items():
        stream = client.open(headers)
        client.until(lambda: client.over(stream))
        answers[name] = client.streams[stream]["status"] or "reset"
    return {"answers": answers}


def refused(client, authority):
    stream = client.connect(authority)
    client.until(lambda: client.over(stream))
    return {"status": client.streams[stream]["status"]}


def drained(client, authority):
    """Waits for both GOAWAYs; the open stream goes on."""
    stream = client.connect(authority)
    client.send(stream, b"before ")
    client.until(lambda: len(client.goaways) == 2)
    client.send(stream, b"and after", end=True)
    client.until(lambda: client.over(stream))
    return {"data": client.streams[stream]["data"].decode(), "goaways": client.goaways}


def connect(arguments):
    raw = socket.create_connection(("127.0.0.1", arguments.port), timeout=TIMEOUT_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = context_of(arguments, "client").wrap_socket(raw)
    client = Client(tls)
    client.until(lambda: client.settings)
    result = globals()[arguments.what](client, arguments.authority)
    say(what=arguments.what, version=tls.version(), alpn=tls.selected_alpn_protocol(), result=result,
        identities=identities(tls), settings=client.settings, frames=sorted(client.kinds))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    modes = parser.add_subparsers(required=True)
    for name, function in (("serve", serve), ("connect", connect)):
        mode = modes.add_parser(name)
        mode.set_defaults(function=function)
        for flag in ("--certificate", "--key", "--roots"):
            mode.add_argument(flag, required=True)
        if name == "connect":
            mode.add_argument("--port", type=int, required=True)
            mode.add_argument("--authority", default="10.0.0.1:80")
            mode.add_argument("what", choices=("echo", "reset", "malformed", "refused", "drained"))
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    sys.exit(main())
