"""A network of its own for a container: a name server that knows one name, and TLS behind it.

Run as `unshare --net python image_peers.py DIRECTORY`. Writes the authority that it made to
DIRECTORY/ca.pem, says `ready`, then each name that it is asked for.
"""

import asyncio
import fcntl
import pathlib
import socket
import ssl
import struct
import sys

import trustme

NAME = "stripe.payonce.test"
SANDBOX = 12111


def loopback_up():
    """A fresh network namespace has a loopback interface that is down."""
    get_flags, set_flags, up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack("16xH14x", fcntl.ioctl(any_socket, get_flags, asked))
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", flags | up))


class NameServer(asyncio.DatagramProtocol):
    """Answers for NAME with 127.0.0.1, for all else that there is no such name (RFC 1035)."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        question = data[12 : at + 5]
        (kind,) = struct.unpack(">H", data[at + 1 : at + 3])
        name = ".".join(labels)
        print("asked for", name, kind, flush=True)
        answer = b""
        if name == NAME and kind == 1:
            answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1])
        code = 0 if name == NAME else 3
        counts = struct.pack(">HHHHH", 0x8180 | code, 1, 1 if answer else 0, 0, 0)
        self.transport.sendto(data[:2] + counts + question + answer, addr)


async def copy(reader, writer):
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


async def relay(reader, writer):
    """From a TLS connection to the sandbox."""
    to_reader, to_writer = await asyncio.open_connection("127.0.0.1", SANDBOX)
    both = copy(reader, to_writer), copy(to_reader, writer)
    await asyncio.gather(*both, return_exceptions=True)


async def main(directory):
    loopback_up()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(NameServer, ("127.0.0.1", 53))
    server = await asyncio.start_server(relay, "127.0.0.1", 443, ssl=context)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(pathlib.Path(sys.argv[1])))
