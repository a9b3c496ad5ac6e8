"""TLS in front of servers that were built without it, as a process: `python -m tests.tls FOLDER PORT=PORT...`.

Clients really speak TLS, with a certificate that they check; how the servers speak to each other stays plain.
"""

import asyncio
import datetime
import ipaddress
import ssl
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


def forwarding(port: int) -> Callable[[StreamReader, StreamWriter], Awaitable[None]]:
    """Passes on what a client sends to this port, and what comes back."""

    async def serve(client: StreamReader, to_client: StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            to_client.transport.abort()
            return
        await asyncio.wait(
            [asyncio.create_task(_pass_on(*way)) for way in ((client, to_server), (server, to_client))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for writer in (to_client, to_server):
            writer.transport.abort()

    return serve


async def _pass_on(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass


async def main(folder: Path, ports: dict[int, int]) -> None:
    """Listen on each port, and pass on to the port that it stands for; say so when all listen."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(make_certificate(folder))
    for port, behind in ports.items():
        await asyncio.start_server(forwarding(behind), "127.0.0.1", port, ssl=context)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), dict(map(int, pair.split("=")) for pair in sys.argv[2:])))  # type: ignore[misc]
