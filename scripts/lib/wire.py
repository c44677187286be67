"""Reads a packet capture (pcap, Ethernet, IPv4) and says what went over the wire.

    wire.py CAPTURE WORD..

Prints one JSON object: packets, the server ports in use (the port that the first SYN went to), the TLS version
of every ServerHello, and which of the words appeared in clear.
"""

import json
import struct
import sys

TLS_NAMES = {0x0304: "TLS 1.3", 0x0303: "TLS 1.2", 0x0302: "TLS 1.1", 0x0301: "TLS 1.0"}


def packets(path):
    with open(path, "rb") as file:
        head = file.read(24)
        if len(head) < 24:
            return
        order = "<" if head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
        if struct.unpack(order + "I", head[20:24])[0] != 1:
            raise SystemExit("wire.py: expected a capture of an Ethernet device")
        while True:
            record = file.read(16)
            if len(record) < 16:
                return
            yield file.read(struct.unpack(order + "IIII", record)[2])


def tcp_segments(path):
    """(source, source port, destination, destination port, flags, payload) of every TCP segment."""
    for frame in packets(path):
        if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        ip = frame[14:]
        ip_length = (ip[0] & 15) * 4
        tcp = ip[ip_length:struct.unpack(">H", ip[2:4])[0]]
        if len(tcp) < 20:
            continue
        source_port, destination_port = struct.unpack(">HH", tcp[:4])
        payload = tcp[(tcp[12] >> 4) * 4:]
        yield (".".join(map(str, ip[12:16])), source_port, ".".join(map(str, ip[16:20])),
               destination_port, tcp[13], payload)


def server_hello_version(payload):
    """The TLS version that a ServerHello chose; None where the payload does not begin with one."""
    if len(payload) < 44 or payload[0] != 0x16 or payload[5] != 2:
        return None
    version = struct.unpack(">H", payload[9:11])[0]
    at = 43 + 1 + payload[43] + 3  # random, session id, cipher suite, compression
    if at + 2 > len(payload):
        return version
    end = min(len(payload), at + 2 + struct.unpack(">H", payload[at:at + 2])[0])
    at += 2
    while at + 4 <= end:
        kind, length = struct.unpack(">HH", payload[at:at + 4])
        if kind == 43 and length == 2:  # supported_versions
            return struct.unpack(">H", payload[at + 4:at + 6])[0]
        at += 4 + length
    return version


def main(path, words):
    ports, versions, clear, count = {}, {}, set(), 0
    servers = set()
    segments = list(tcp_segments(path))
    for source, source_port, destination, destination_port, flags, _ in segments:
        if flags & 0x12 == 0x02:  # SYN without ACK
            servers.add((destination, destination_port))
    for source, source_port, destination, destination_port, _, payload in segments:
        count += 1
        port = destination_port if (destination, destination_port) in servers else source_port
        ports[port] = ports.get(port, 0) + 1
        version = server_hello_version(payload)
        if version is not None:
            name = TLS_NAMES.get(version, hex(version))
            versions[name] = versions.get(name, 0) + 1
        clear.update(word for word in words if word.encode() in payload)
    print(json.dumps({"packets": count, "ports": {str(p): n for p, n in sorted(ports.items())},
                      "handshakes": versions, "in_clear": sorted(clear)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
