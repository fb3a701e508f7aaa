"""A network of its own for a container: a name server that knows two names, and TLS behind them.

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
# Has more addresses than an answer by UDP holds (512 bytes, RFC 1035 §4.2.1), so that none are in it.
LARGE = "large.payonce.test"
# Search domains that answer all names below them with a code of RFC 1035 §4.1.1; 0 is no addresses.
DOMAINS = {"empty.test": 0, "servfail.test": 2, "refused.test": 5}
SANDBOX = 12111


def loopback_up():
    """A fresh network namespace has a loopback interface that is down."""
    get_flags, set_flags, up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack("16xH14x", fcntl.ioctl(any_socket, get_flags, asked))
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", flags | up))


def answer(query, how):
    """127.0.0.1 for the two names; for all else what DOMAINS says, or that there is no such name."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12 : at + 5]
    (kind,) = struct.unpack(">H", query[at + 1 : at + 3])
    name = ".".join(labels)
    print("asked for", name, kind, "by", how, flush=True)
    code, last, cut = 3, [], 0
    if name in (NAME, LARGE):
        code = 0
        last = [1] * (kind == 1) if name == NAME else list(range(1, 41)) * (kind == 1)
    for domain in DOMAINS:
        if name.endswith(f".{domain}"):
            code = DOMAINS[domain]
    if how == "UDP" and len(last) > 25:
        last, cut = [], 0x0200
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4)
    records = b"".join(record + bytes([127, 0, 0, each]) for each in last)
    counts = struct.pack(">HHHHH", 0x8180 | cut | code, 1, len(last), 0, 0)
    return query[:2] + counts + question + records


class ByUdp(asyncio.DatagramProtocol):
    """A name server's usual way."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(answer(data, "UDP"), addr)


async def by_tcp(reader, writer):
    """The way for what is too long for a datagram: each message after its length."""
    try:
        while True:
            (length,) = struct.unpack(">H", await reader.readexactly(2))
            said = answer(await reader.readexactly(length), "TCP")
            writer.write(struct.pack(">H", len(said)) + said)
    except asyncio.IncompleteReadError:
        writer.close()


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
    authority.issue_cert(NAME, LARGE).configure_cert(context)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(ByUdp, ("127.0.0.1", 53))
    await asyncio.start_server(by_tcp, "127.0.0.1", 53)
    # Whichever of the addresses is tried.
    server = await asyncio.start_server(relay, "0.0.0.0", 443, ssl=context)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(pathlib.Path(sys.argv[1])))
