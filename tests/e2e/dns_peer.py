"""DNS in the pods: a server, and clients that ask as C libraries do. Its messages are dnspython's.

    serve                     UDP and TCP on 0.0.0.0:53 and [::]:53; one line of JSON for each query
    unconnected NAME SERVER.. one socket asks every server at once, as musl does
    connected NAME SERVER     one connected socket, as glibc does
    flood NAME SERVER COUNT   as many queries at once
    again NAME SERVER SECONDS one query, sent once, and one answer waited for
    steady NAME SERVER        queries, each sent again after a second, until standard input ends
"""

import json
import select
import socket
import socketserver
import sys
import threading
import time

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

LONG = [f"192.0.2.{i}" for i in range(1, 201)]


def respond(wire, transport):
    """By the first label: long, silent, refused; else one address that tells which transport was used."""
    query = dns.message.from_wire(wire)
    question = query.question[0]
    name = question.name.to_text()
    print(json.dumps({"name": name, "type": dns.rdatatype.to_text(question.rdtype), "transport": transport,
                      "payload": query.payload if query.edns >= 0 else None,
                      "options": [int(option.otype) for option in query.options]}) + "\n", end="", flush=True)
    mode = name.split(".")[0].lower()
    if mode == "silent":
        return None
    answer = dns.message.make_response(query, recursion_available=True)
    if mode == "nowhere":
        answer.set_rcode(3)
    elif question.rdtype == dns.rdatatype.A:
        addresses = LONG if mode == "long" else ["192.0.2.53" if transport == "udp" else "192.0.2.153"]
        answer.answer.append(dns.rrset.from_text_list(question.name, 77, "IN", "A", addresses))
    elif question.rdtype == dns.rdatatype.TXT:
        answer.answer.append(dns.rrset.from_text(question.name, 77, "IN", "TXT", '"forwarded"'))
    out = answer.to_wire(max_size=65535)
    limit = max(512, query.payload if query.edns >= 0 else 512)
    if transport == "udp" and len(out) > limit:
        answer.answer.clear()
        answer.flags |= dns.flags.TC
        out = answer.to_wire()
    return out


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        wire, sock = self.request
        if (answer := respond(wire, "udp")) is not None:
            sock.sendto(answer, self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        while len(size := self.rfile.read(2)) == 2:
            answer = respond(self.rfile.read(int.from_bytes(size, "big")), "tcp")
            if answer is not None:
                self.wfile.write(len(answer).to_bytes(2, "big") + answer)
                self.wfile.flush()


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


class V6Only:
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


class UdpServer6(V6Only, socketserver.ThreadingUDPServer):
    pass


class TcpServer6(V6Only, TcpServer):
    pass


def serve():
    servers = [socketserver.ThreadingUDPServer(("0.0.0.0", 53), Udp), TcpServer(("0.0.0.0", 53), Tcp)]
    if socket.has_ipv6:
        servers += [UdpServer6(("::", 53), Udp), TcpServer6(("::", 53), Tcp)]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


def addresses(wire):
    return sorted(item.address for rrset in dns.message.from_wire(wire).answer for item in rrset
                  if item.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA))


def unconnected(name, *servers):
    family = socket.AF_INET6 if ":" in servers[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        queries = {}
        for server in servers:
            query = dns.message.make_query(name, "A")
            queries[query.id] = server
            sock.sendto(query.to_wire(), (server, 53))
        seen = []
        for _ in servers:
            wire, source = sock.recvfrom(65535)
            meant = queries[dns.message.from_wire(wire).id]
            seen.append({"from": source[0], "port": source[1], "meant": meant, "addresses": addresses(wire)})
        return seen


def connected(name, server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((server, 53))
        sock.send(dns.message.make_query(name, "A").to_wire())
        return addresses(sock.recv(65535))


def flood(name, server, count):
    """Sends the queries from one socket, a few at a time; how many were refused within two seconds of the last."""
    count = int(count)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((server, 53))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        query = bytearray(dns.message.make_query(name, "A").to_wire())
        begin = time.monotonic()
        refused = 0
        for number in range(count):
            query[:2] = number.to_bytes(2, "big")
            sock.send(query)
            if number % 50 == 49:
                time.sleep(0.005)
        while refused < count - 1024 and select.select([sock], [], [], 2)[0]:
            refused += dns.message.from_wire(sock.recv(65535)).rcode() == 2
        return {"servfail": refused, "seconds": time.monotonic() - begin}


def again(name, server, seconds):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((server, 53))
        print("sending", flush=True)
        sys.stdin.readline()
        sock.send(dns.message.make_query(name, "A").to_wire())
        print("sent", flush=True)
        sock.settimeout(float(seconds))
        return addresses(sock.recv(65535))


def steady(name, server):
    count = sent_again = lost = 0
    slowest = 0.0
    while not select.select([sys.stdin], [], [], 0)[0]:
        begin = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((server, 53))
            sock.settimeout(1)
            query = dns.message.make_query(name, "A").to_wire()
            for attempt in range(5):
                sock.send(query)
                try:
                    if addresses(sock.recv(65535)):
                        break
                except TimeoutError:
                    sent_again += 1
            else:
                lost += 1
        count += 1
        slowest = max(slowest, time.monotonic() - begin)
        if count == 20:
            print("asking", flush=True)
    return {"count": count, "sent_again": sent_again, "lost": lost, "slowest": slowest}


if __name__ == "__main__":
    result = globals()[sys.argv[1]](*sys.argv[2:])
    if result is not None:
        print(json.dumps(result), flush=True)
