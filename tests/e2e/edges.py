"""Clients of the capture tests: odd ways to make a connection. Each prints as JSON what it saw.

    edges.py FUNCTION [ARGUMENT ..]
"""

import array
import errno
import json
import os
import selectors
import socket
import sys
import time

SECONDS = 10


def read_all(connection):
    text = b""
    while chunk := connection.recv(4096):
        text += chunk
    return json.loads(text)


def tried(connection, host, port):
    """Connects to a server that tells whom it sees (peer.py's `who`), or says why it cannot."""
    connection.settimeout(SECONDS)
    began = time.monotonic()
    try:
        connection.connect((host, int(port)))
        seen = read_all(connection)
    except OSError as problem:
        return {"error": errno.errorcode.get(problem.errno, repr(problem)), "seconds": time.monotonic() - began}
    return {"server": seen, "own": list(connection.getsockname()), "peer": list(connection.getpeername())}


def on_device(host, port, device, uid):
    """From a socket that is bound to a device, by a process of that user."""
    os.setgroups([])
    os.setuid(int(uid))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        return tried(connection, host, port)


def from_address(host, port, own):
    with socket.socket() as connection:
        connection.bind((own, 0))
        return tried(connection, host, port)


def without_waiting(host, port):
    """connect(2) on a non-blocking socket, then poll for its end."""
    with socket.socket() as connection, selectors.DefaultSelector() as wait:
        connection.setblocking(False)
        first = connection.connect_ex((host, int(port)))
        wait.register(connection, selectors.EVENT_WRITE)
        ready = bool(wait.select(SECONDS))
        last = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        connection.setblocking(True)
        return {"first": errno.errorcode.get(first, "0"), "ready": ready, "last": errno.errorcode.get(last, "0"),
                "server": read_all(connection) if last == 0 else None}


def again(*places):
    """One socket, connected to one place after the other: HOST PORT HOST PORT .."""
    seen = []
    with socket.socket() as connection:
        for host, port in zip(places[::2], places[1::2], strict=True):
            seen.append(tried(connection, host, port))
            dissolve(connection)
    return seen


def dissolve(connection):
    """connect(2) to AF_UNSPEC, which python does not offer."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.connect(connection.fileno(), bytes(16), 16) != 0:
        raise OSError(ctypes.get_errno(), "dissolving")


def give(path):
    """Makes a socket and gives it to whoever asks on a unix socket."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket() as made:
        listener.bind(path)
        listener.listen()
        print("made", flush=True)
        with listener.accept()[0] as taker:
            taker.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [made.fileno()]))])
            taker.recv(1)
    os.unlink(path)
    return {}


def take(path, host, port):
    """Connects a socket that somebody else made."""
    with socket.socket(socket.AF_UNIX) as giver:
        giver.connect(path)
        _, rights, _, _ = giver.recvmsg(1, socket.CMSG_SPACE(4))
        descriptor, = array.array("i", rights[0][2])
        with socket.socket(fileno=descriptor) as connection:
            return tried(connection, host, port)


def datagrams(host, port):
    """Echoes of one datagram from an unconnected and of one from a connected socket."""
    seen = {}
    for name in ("unconnected", "connected"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(SECONDS)
            if name == "connected":
                one.connect((host, int(port)))
                one.send(name.encode())
            else:
                one.sendto(name.encode(), (host, int(port)))
            text, sender = one.recvfrom(100)
            seen[name] = [text.decode(), list(sender)]
    return seen


FUNCTIONS = {function.__name__: function for function in (
    on_device, from_address, without_waiting, again, give, take, datagrams)}

if __name__ == "__main__":
    print(json.dumps(FUNCTIONS[sys.argv[1]](*sys.argv[2:])))
