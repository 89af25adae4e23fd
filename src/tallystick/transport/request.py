"""What an adapter must be able to tell of a request."""

from __future__ import annotations

from typing import Protocol

from tallystick.types import ClientInfo


class Request(Protocol):
    """A request, as far as sessions care."""

    @property
    def method(self) -> str:
        """The method, in capitals."""
        ...

    @property
    def path(self) -> str:
        """The path within the app: without what the app is mounted at (spec/fdi.md P-38)."""
        ...

    @property
    def is_https(self) -> bool:
        """Whether the client came over TLS, as far as the server knows."""
        ...

    @property
    def address(self) -> str | None:
        """The IP address that the request came from, as far as the server knows."""
        ...

    def header(self, name: str) -> str | None:
        """The value of a header by its lower-case name; several ``cookie`` headers joined with ``"; "``."""
        ...

    def credentials(self) -> tuple[str | None, str | None]:
        """The headers ``cookie`` and ``authorization``, at one look: each request is asked for both."""
        ...


def identify_client(request: Request) -> ClientInfo:
    """What is told of the client that sent a request."""
    return ClientInfo(request.header("user-agent"), request.address)
