"""What istio-cni does beside a ztunnel, written from the protocol's description alone: a ZDS server with protobuf
by hand, strict about every byte that the ztunnel says, and the netfilter rules of a captured pod.

A pod's network namespace goes with its AddWorkload; the ztunnel opens 15001, 15006, 15008 and 15053 there.
"""

import array
import os
import pathlib
import socket
import subprocess

PACKET_MAX = 1024  # of what a ztunnel is sent
OURS_FROM = 1000   # field numbers of extensions, which an istio-cni does not know and passes over

MARK, RETURN_MARK = "0x539/0xfff", "0x111/0xfff"
RULES = f"""
mangle -A PREROUTING -m mark --mark {MARK} -j CONNMARK --set-xmark {RETURN_MARK}
mangle -A OUTPUT -m connmark --mark {RETURN_MARK} -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
nat -A OUTPUT -p tcp -m mark --mark {RETURN_MARK} -j ACCEPT
nat -A OUTPUT ! -o lo -p udp -m mark ! --mark {MARK} --dport 53 -j REDIRECT --to-ports 15053
nat -A OUTPUT ! -d LOOPBACK -p tcp --dport 53 -m mark ! --mark {MARK} -j REDIRECT --to-ports 15053
nat -A OUTPUT ! -d LOOPBACK -o lo -j ACCEPT
nat -A OUTPUT ! -d LOOPBACK -p tcp -m mark ! --mark {MARK} -j REDIRECT --to-ports 15001
nat -A PREROUTING ! -d LOOPBACK -p tcp ! --dport 15008 -m mark ! --mark {MARK} -j REDIRECT --to-ports 15006
raw -A OUTPUT -p udp -m mark --mark {MARK} --dport 53 -j CT --zone 1
raw -A PREROUTING -p udp --sport 53 -j CT --zone 1
"""


def redirect(netns):
    """The rules inside a pod, both families."""
    def run(*command):
        subprocess.run(["nsenter", f"--net=/run/netns/{netns}", *command], check=True, capture_output=True)
    for program, loopback, everywhere, family in (("iptables", "127.0.0.1/32", "0.0.0.0/0", "-4"),
                                                  ("ip6tables", "::1/128", "::/0", "-6")):
        for rule in RULES.strip().splitlines():
            run(program, "-t", *rule.replace("LOOPBACK", loopback).split())
        run("ip", family, "rule", "add", "fwmark", RETURN_MARK, "pref", "32764", "lookup", "100")
        run("ip", family, "route", "add", "local", everywhere, "dev", "lo", "table", "100")


# Protobuf: only what ZDS has, varints and length-delimited fields.

def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def parse(message):
    """[(field number, value)]; anything that is no varint or length-delimited field is an error."""
    def read_varint(at):
        value = shift = 0
        while True:
            byte = message[at]
            value |= (byte & 0x7f) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at
    found, at = [], 0
    while at < len(message):
        tag, at = read_varint(at)
        if tag & 7 == 0:
            value, at = read_varint(at)
        elif tag & 7 == 2:
            length, at = read_varint(at)
            value, at = message[at:at + length], at + length
            assert len(value) == length, "a field that is cut"
        else:
            raise AssertionError(f"wire type {tag & 7}")
        found.append((tag >> 3, value))
    return found


def known(fields):
    return [(number, value) for number, value in fields if number < OURS_FROM]


def add_request(uid, name, namespace, account):
    info = field(1, name) + field(2, namespace) + field(3, account)
    return field(1, field(1, uid) + field(2, info))


def delete_request(uid):
    return field(2, field(2, uid))


def keep_request(uid):
    return field(5, field(1, uid))


SNAPSHOT_SENT = field(3, b"")


class Refused(Exception):
    """The ztunnel acknowledged with an error."""


class Agent:
    """Listens where a ztunnel connects; one at a time is spoken to. All methods wait for the acknowledgement."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(4)
        self.listener.settimeout(20)
        self.ztunnel = None

    def accept(self):
        """Waits for a ztunnel and its hello."""
        self.ztunnel, _ = self.listener.accept()
        self.ztunnel.settimeout(15)
        assert known(parse(self.ztunnel.recv(4096))) == [(1, 1)], "expected ZdsHello{version: V1} first"

    def ask(self, request, netns=None):
        assert len(request) <= PACKET_MAX
        ancillary = []
        if netns is not None:
            fd = os.open(f"/run/netns/{netns}", os.O_RDONLY | os.O_CLOEXEC)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.ztunnel.sendmsg([request], ancillary)
        if netns is not None:
            os.close(fd)
        answer, rights, flags, _ = self.ztunnel.recvmsg(4096, 256)
        assert answer and not rights and not flags, "expected a plain packet"
        fields = parse(answer)
        assert [number for number, _ in fields] == [1], f"expected WorkloadResponse{{ack}} alone: {fields}"
        ack = parse(fields[0][1])
        assert all(number == 1 for number, _ in ack), f"expected Ack{{error}}: {ack}"
        error = b"".join(value for _, value in ack).decode()
        if error:
            raise Refused(error)

    def add(self, pod):
        self.ask(add_request(pod.uid, pod.name, pod.namespace, pod.account), pod.netns)

    def delete(self, uid):
        self.ask(delete_request(uid))

    def keep(self, uid):
        self.ask(keep_request(uid))

    def snapshot_sent(self):
        self.ask(SNAPSHOT_SENT)

    def hang_up(self):
        self.ztunnel.close()

    def close(self):
        if self.ztunnel:
            self.ztunnel.close()
        self.listener.close()
        self.path.unlink(missing_ok=True)
