"""Many connections that do nothing, from one process a side: neither has a thread for each.

    idle_peer.py serve PORT              echoes; pours without end to whom asks for it with "p"
    idle_peer.py hold HOST PORT COUNT    opens them, each once used, prints "open" and how many; until its input ends
    idle_peer.py stop HOST PORT COUNT    opens them, asks for a pour on each and never reads; the same
"""

import resource
import selectors
import socket
import sys


def serve(port):
    listener = socket.create_server(("0.0.0.0", int(port)), backlog=1024)
    listener.setblocking(False)
    wait = selectors.DefaultSelector()
    wait.register(listener, selectors.EVENT_READ)
    ballast = bytes(65536)
    while True:
        for key, events in wait.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setblocking(False)
                wait.register(connection, selectors.EVENT_READ)
                continue
            try:
                if events & selectors.EVENT_WRITE:
                    key.fileobj.send(ballast)
                    continue
                said = key.fileobj.recv(4096)
                if said == b"p":
                    wait.modify(key.fileobj, selectors.EVENT_WRITE)
                elif said:
                    key.fileobj.sendall(said)
                    continue
                if said:
                    continue
            except OSError:
                pass
            wait.unregister(key.fileobj)
            key.fileobj.close()


def open_all(host, port, count, use):
    address = socket.gethostbyname(host)
    connections = []
    for _ in range(int(count)):
        connection = socket.create_connection((address, int(port)), timeout=60)
        use(connection)
        connections.append(connection)
    print("open", len(connections), flush=True)
    sys.stdin.read()


def once(connection):
    connection.sendall(b"x")
    assert connection.recv(1) == b"x"


def ask_for_pour(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(b"p")


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    what, *rest = sys.argv[1:]
    if what == "serve":
        serve(*rest)
    open_all(*rest, once if what == "hold" else ask_for_pour)
