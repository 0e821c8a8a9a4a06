"""The fan-out on sockets and an epoll alone: for each delivery one `send`, and nothing else.

It is the least that a server in Python can do that writes to each member at once, most of it
the kernel's. It is true to its clients, and to nobody else.
"""

import select
import socket
import sys

from benchmarks.apps.trio_server import answer_to, shake

END_OF_HEAD = b"\r\n\r\n"


class Client:
    """A connection, which says nothing before its handshake is answered."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.is_member = False


def serve(host: str, port: int) -> None:
    """Serve for ever."""
    listener = socket.create_server((host, port), backlog=1024)
    clients: dict[int, Client] = {}
    with select.epoll() as poll:
        poll.register(listener, select.EPOLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    sock, _ = listener.accept()
                    poll.register(sock, select.EPOLLIN)
                    clients[sock.fileno()] = Client(sock)
                elif not hear(clients[fd], clients):
                    clients.pop(fd).sock.close()  # which takes it out of the epoll


def hear(client: Client, clients: dict[int, Client]) -> bool:
    """Take what a client sends; return whether it stays."""
    try:
        data = client.sock.recv(1 << 16)
    except ConnectionError:
        data = b""
    if not data:
        return False
    client.buffer += data
    if client.is_member:
        return publish(client, clients)
    if client.buffer.endswith(END_OF_HEAD):
        _, answer = shake(bytes(client.buffer.removesuffix(END_OF_HEAD)))
        client.buffer.clear()
        client.sock.send(answer)
        client.is_member = True
    return True


def publish(client: Client, clients: dict[int, Client]) -> bool:
    """Send what a member says to all of them; its last word only to itself."""
    is_open, frames = answer_to(client.buffer)
    for member in clients.values() if is_open else [client]:
        if member.is_member:
            member.sock.send(frames)
    return is_open


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
