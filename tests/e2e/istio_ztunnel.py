"""What Istio's ztunnel says to its control plane, and how it reads the answers: delta xDS and CreateCertificate by
python's ssl and h2, protobuf by hand. Strict: a field that Istio's messages do not have is an error, but for those
from 1000, which are ours: protobuf passes over what it does not know, and Istio is far from them.

Field numbers: reference ztunnel 1.13 (workload, authorization), 1.6 (certificates), Envoy's discovery service v3.
"""

import ctypes
import os
import socket
import ssl
import struct

import h2.config
import h2.connection
import h2.events

from istio_cni import field, known, parse

ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"

# {number: (name, how)}; how: int, str, bytes, or the table of a message; in a list where it is repeated.
NETWORK_ADDRESS = {1: ("network", str), 2: ("address", bytes), 3: ("length", int)}
HOSTNAME = {1: ("namespace", str), 2: ("hostname", str)}
GATEWAY = {1: ("hostname", HOSTNAME), 2: ("address", NETWORK_ADDRESS), 3: ("hbone_mtls_port", int)}
PORT = {1: ("service_port", int), 2: ("target_port", int), 3: ("app_protocol", int)}
PORT_LIST = {1: ("ports", [PORT])}
EXTENSION = {1: ("name", str), 2: ("config", bytes)}
WORKLOAD = {
    20: ("uid", str), 1: ("name", str), 2: ("namespace", str), 3: ("addresses", [bytes]), 21: ("hostname", str),
    4: ("network", str), 5: ("tunnel_protocol", int), 6: ("trust_domain", str), 7: ("service_account", str),
    8: ("waypoint", GATEWAY), 19: ("network_gateway", GATEWAY), 9: ("node", str), 10: ("canonical_name", str),
    11: ("canonical_revision", str), 12: ("workload_type", int), 13: ("workload_name", str), 14: ("native_tunnel", int),
    23: ("application_tunnel", {1: ("protocol", int), 2: ("port", int)}),
    22: ("services", [{1: ("key", str), 2: ("value", PORT_LIST)}]), 16: ("authorization_policies", [str]),
    17: ("status", int), 18: ("cluster_id", str),
    24: ("locality", {1: ("region", str), 2: ("zone", str), 3: ("subzone", str)}), 25: ("network_mode", int),
    26: ("extensions", [EXTENSION]), 27: ("capacity", {1: ("value", int)})}
SERVICE = {
    1: ("name", str), 2: ("namespace", str), 3: ("hostname", str), 4: ("addresses", [NETWORK_ADDRESS]),
    5: ("ports", [PORT]), 6: ("subject_alt_names", [str]), 7: ("waypoint", GATEWAY),
    8: ("load_balancing", {1: ("routing_preference", bytes), 2: ("mode", int), 3: ("health_policy", int)}),
    9: ("ip_families", int), 10: ("extensions", [EXTENSION]), 11: ("canonical", int),
    12: ("ingress_use_waypoint", int), 13: ("weighted_waypoints", [{1: ("destination", GATEWAY), 2: ("weight", int)}]),
    14: ("visibility", int)}
STRING_MATCH = {1: ("exact", str), 2: ("prefix", str), 3: ("suffix", str), 4: ("presence", bytes)}
CIDR = {1: ("address", bytes), 2: ("length", int)}
ACCOUNT = {1: ("namespace", str), 2: ("serviceAccount", str)}
MATCH = {
    1: ("namespaces", [STRING_MATCH]), 2: ("not_namespaces", [STRING_MATCH]), 3: ("principals", [STRING_MATCH]),
    4: ("not_principals", [STRING_MATCH]), 5: ("source_ips", [CIDR]), 6: ("not_source_ips", [CIDR]),
    7: ("destination_ips", [CIDR]), 8: ("not_destination_ips", [CIDR]), 9: ("destination_ports", bytes),
    10: ("not_destination_ports", bytes), 11: ("service_accounts", [ACCOUNT]), 12: ("not_service_accounts", [ACCOUNT]),
    13: ("extensions", [EXTENSION])}
POLICY = {
    1: ("name", str), 2: ("namespace", str), 3: ("scope", int), 4: ("action", int),
    5: ("rules", [{1: ("clauses", [{2: ("matches", [MATCH])}])}]), 6: ("dry_run", int), 7: ("extensions", [EXTENSION])}
TYPES = {ADDRESS: {1: ("workload", WORKLOAD), 2: ("service", SERVICE)}, AUTHORIZATION: POLICY}
RESOURCE = {1: ("version", str), 2: ("resource", {1: ("type_url", str), 2: ("value", bytes)}), 3: ("name", str),
            4: ("aliases", [str])}
DELTA_RESPONSE = {1: ("system_version_info", str), 2: ("resources", [RESOURCE]), 4: ("type_url", str),
                  5: ("nonce", str), 6: ("removed_resources", [str])}
CERTIFICATES = {1: ("cert_chain", [str])}


def decode(message, table):
    found = {}
    for number, value in known(parse(message)):
        assert number in table, f"field {number}, which Istio's message does not have: {sorted(table)}"
        name, how = table[number]
        repeated = isinstance(how, list)
        how = how[0] if repeated else how
        if how is int:
            assert isinstance(value, int), f"{name} is no varint"
        else:
            assert isinstance(value, bytes), f"{name} is a varint"
            value = value.decode() if how is str else value if how is bytes else decode(value, how)
        if repeated:
            found.setdefault(name, []).append(value)
        else:
            assert name not in found, f"{name} twice"
            found[name] = value
    return found


def text_map(number, entries):
    return b"".join(field(number, field(1, key) + field(2, value)) for key, value in entries.items())


def text_struct(entries):
    """google.protobuf.Struct of strings."""
    return b"".join(field(1, field(1, key) + field(2, field(3, value))) for key, value in entries.items())


def socket_in(netns, address):
    """A TCP connection out of a network namespace. Python 3.11 has no os.setns."""
    libc = ctypes.CDLL(None, use_errno=True)
    own, other = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{netns}", os.O_RDONLY)
    try:
        assert libc.setns(other, 0) == 0, os.strerror(ctypes.get_errno())
        try:
            connection = socket.socket()
        finally:
            assert libc.setns(own, 0) == 0
    finally:
        os.close(own)
        os.close(other)
    connection.settimeout(15)
    connection.connect(address)
    return connection


class Status(Exception):
    """The call ended: (grpc-status, grpc-message)."""


class Control:
    """One TLS connection to a control plane, as a ztunnel of a node has it."""

    def __init__(self, netns, address, name, roots, token):
        context = ssl.create_default_context(cafile=roots)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        self.tls = context.wrap_socket(socket_in(netns, address), server_hostname=name)
        assert self.tls.selected_alpn_protocol() == "h2"
        self.address, self.token = address, token
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.received, self.ended = {}, {}
        self._flush()

    def call(self, path):
        stream = self.h2.get_next_available_stream_id()
        self.received[stream] = b""
        self.h2.send_headers(stream, [
            (":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "control"),
            ("content-type", "application/grpc"), ("te", "trailers"), ("authorization", f"Bearer {self.token}"),
            ("clusterid", "Kubernetes")])
        self._flush()
        return stream

    def send(self, stream, message, end=False):
        self.h2.send_data(stream, b"\0" + struct.pack(">I", len(message)) + message, end_stream=end)
        self._flush()

    def receive(self, stream, within=15):
        """The next message; Status where the call has ended, TimeoutError where none comes."""
        self.tls.settimeout(within)
        while True:
            data = self.received[stream]
            if len(data) >= 5 and len(data) >= 5 + (size := struct.unpack(">I", data[1:5])[0]):
                assert data[0] == 0, "a compressed message that nobody asked for"
                self.received[stream] = data[5 + size:]
                return data[5:5 + size]
            if stream in self.ended:
                raise Status(*self.ended[stream])
            self._read()

    def _read(self):
        data = self.tls.recv(65536)
        assert data, "control closed the connection"
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self.received[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.TrailersReceived, h2.events.ResponseReceived)):
                headers = dict(event.headers)
                if "grpc-status" in headers:
                    self.ended[event.stream_id] = (int(headers["grpc-status"]), headers.get("grpc-message", ""))
        self._flush()

    def _flush(self):
        if data := self.h2.data_to_send():
            self.tls.sendall(data)

    def close(self):
        self.tls.close()


class Discovery:
    """The delta stream of a ztunnel: what it knows, by type and name."""

    PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

    def __init__(self, control, node, earlier=None):
        """`earlier`: resources of an earlier stream, named with their versions."""
        self.control, self.stream = control, control.call(self.PATH)
        self.known = earlier or {ADDRESS: {}, AUTHORIZATION: {}}
        # One message of node data, as ztunnel has it, then a type each.
        node = field(1, f"ztunnel~{control.address[0]}~ztunnel-x.istio-system~istio-system.svc.cluster.local") + field(
            3, text_struct({"NAME": "ztunnel-x", "NAMESPACE": "istio-system", "NODE_NAME": node,
                            "CLUSTER_ID": "Kubernetes"}))
        for type_url in (ADDRESS, AUTHORIZATION):
            versions = {name: entry["version"] for name, entry in self.known[type_url].items()}
            control.send(self.stream, field(1, node) + field(2, type_url) + text_map(5, versions))

    def next(self, within=15, refuse=None):
        """One response, acknowledged: (type, names that came, names that went)."""
        response = decode(self.control.receive(self.stream, within), DELTA_RESPONSE)
        type_url = response["type_url"]
        assert type_url in TYPES and response["nonce"], response
        came = response.get("resources", [])
        for entry in came:
            assert entry["name"] and entry["version"] and entry["resource"]["type_url"] == type_url, entry
            value = decode(entry["resource"]["value"], TYPES[type_url])
            self.known[type_url][entry["name"]] = {"version": entry["version"], "value": value}
        gone = response.get("removed_resources", [])
        for name in gone:
            self.known[type_url].pop(name, None)
        answer = field(2, type_url) + field(6, response["nonce"])
        if refuse:
            answer += field(7, field(1, 3) + field(2, refuse))
        self.control.send(self.stream, answer)
        return type_url, [entry["name"] for entry in came], gone

    def until(self, condition):
        """Takes responses until the condition holds."""
        while not condition():
            self.next()

    def workloads(self):
        return {entry["value"]["workload"]["name"]: entry["value"]["workload"]
                for entry in self.known[ADDRESS].values() if "workload" in entry["value"]}

    def services(self):
        return {entry["value"]["service"]["hostname"]: entry["value"]["service"]
                for entry in self.known[ADDRESS].values() if "service" in entry["value"]}


def create_certificate(control, csr, identity, seconds):
    """The chain that the CA gives for a certificate request (PEM)."""
    stream = control.call("/istio.v1.auth.IstioCertificateService/CreateCertificate")
    control.send(stream, field(1, csr) + field(2, text_struct({"ImpersonatedIdentity": identity})) + field(3, seconds),
                 end=True)
    return decode(control.receive(stream), CERTIFICATES)["cert_chain"]
