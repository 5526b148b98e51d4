"""The coordinator's address: read, looked up, and written."""

from __future__ import annotations

import ipaddress
import socket


def parse_address(text: str) -> tuple[str, int]:
    """`"host:port"` or `"[v6]:port"` as a host and a port.

    Raises:
      ValueError: if it is none.

    >>> parse_address("[::1]:1234"), parse_address("node0:80")
    (('::1', 1234), ('node0', 80))
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"--coordinator={text} must be HOST:PORT, for instance 10.0.0.1:1234")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"--coordinator={text}: a port lies in [1, 65535]; got {port}")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(
            f"--coordinator={text}: write an IPv6 address in brackets, [{host}]:{port}"
        )
    return host.strip("[]"), int(port)


def resolve(host: str, port: int) -> tuple[str, int]:
    """The numeric address of a host, and the port.

    Raises:
      ValueError: if it has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"--coordinator: there is no host {host!r} ({error})") from error
    address = str(found[0][4][0])
    if ipaddress.ip_address(address.partition("%")[0]).is_multicast:
        raise ValueError(f"--coordinator: {host} is no address of one machine")
    return address, port


def bracketed(host: str, port: int) -> str:
    """As a URL has it: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
