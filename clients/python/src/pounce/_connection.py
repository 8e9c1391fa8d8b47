"""How a client reaches the service: which servers, over TLS or not, with a token or without."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import grpc

from ._errors import AddressError
from .v1.alert_service_pb2_grpc import AlertServiceStub
from .v1.care_service_pb2_grpc import CareServiceStub
from .v1.scoring_service_pb2_grpc import ScoringServiceStub

# Bytes of a message from the service: a batch of events is the largest.
MESSAGE_BYTES_MAX = 16 << 20
OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # A server that is gone without a word is noticed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # grpc's own pauses grow to two minutes; how often to try is ours to decide.
    ("grpc.initial_reconnect_backoff_ms", 50),
    # Time to connect, whatever its name says.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A name with several addresses, such as a headless service, is used with all of them.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.use_local_subchannel_pool", 1),
]
SERVERS_MAX = 256

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True)
class Address:
    """A server, or all servers of a name: grpc's target, and whether to speak TLS."""

    target: str
    secure: bool

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `http://host:port` or `dns:///name:port`, and `https` or `dns+https` for TLS."""
        scheme, separator, rest = text.partition(":///")
        is_name = bool(separator) and scheme in ("dns", "dns+https")
        parts = urlsplit(f"{'http' if scheme == 'dns' else 'https'}://{rest}" if is_name else text)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in ("http", "https") or not parts.hostname or port is None:
            raise AddressError(
                f"{text!r} is not of the form http://host:port, https://host:port, "
                "dns:///name:port or dns+https:///name:port"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(f"{'dns:///' if is_name else ''}{host}:{port}", parts.scheme == "https")


class Access:
    """What a client shows and asks for. Its `repr` does not hold the token."""

    def __init__(
        self,
        addresses: str | Sequence[str],
        token: str | None,
        ca: bytes | None,
        identity: tuple[bytes, bytes] | None,
    ) -> None:
        addresses = [addresses] if isinstance(addresses, str) else list(addresses)
        if not 1 <= len(addresses) <= SERVERS_MAX:
            raise AddressError(f"there must be 1 to {SERVERS_MAX} addresses")
        self.addresses = [Address.parse(address) for address in addresses]
        if (ca or identity) and not all(address.secure for address in self.addresses):
            raise AddressError("certificates are for https addresses")
        self.metadata: Metadata = ()
        if token is not None:
            if not token.isascii() or not token.isprintable():
                raise AddressError("the token has characters that a header can't have")
            self.metadata = (("authorization", f"Bearer {token}"),)
        key, chain = (identity[1], identity[0]) if identity else (None, None)
        self.credentials = grpc.ssl_channel_credentials(ca, key, chain)


class Turns:
    """Which server is next: each call or new stream goes to another one."""

    def __init__(self, servers: int) -> None:
        self._servers = servers
        self._numbers = itertools.count()

    def next(self) -> list[int]:
        """All servers, the one whose turn it is first."""
        first = next(self._numbers)
        return [(first + step) % self._servers for step in range(self._servers)]


class Server:
    """The stubs of one server."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.scoring = ScoringServiceStub(channel)
        self.alerts = AlertServiceStub(channel)
        self.care = CareServiceStub(channel)


class AsyncServer:
    """The stubs of one server, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.scoring = ScoringServiceStub(channel)
        self.alerts = AlertServiceStub(channel)
        self.care = CareServiceStub(channel)
