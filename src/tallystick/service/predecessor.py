"""The core that this one takes over from: its access tokens are accepted until they expire.

Its public keys come from where it publishes them, or from a file that was made of that. They are read when the service
starts, and never while a request waits.
"""

from __future__ import annotations

import asyncio
from logging import getLogger
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from tallystick.errors import GeneralError
from tallystick.protocol.core_token import NO_KEYS, PublishedKeys, read_jwks
from tallystick.types import Json

RETRY_SECONDS: Final = 15
TIMEOUT_SECONDS: Final = 5
MAX_BYTES: Final = 1024 * 1024

_logger = getLogger("tallystick.service")


class Predecessor:
    """``source`` is the URL or the file of a JWK Set; None: there is no such core."""

    def __init__(self, source: str | None) -> None:
        self._source = source
        self._task: asyncio.Task[None] | None = None
        self.keys: PublishedKeys = NO_KEYS
        self.published: list[Json] = []
        """The same for our own JWK Set: clients that verify alone look for them there."""

    async def open(self) -> None:
        """Read the keys. A file that does not do raises :class:`GeneralError` (``bad_config``); a URL that gives no
        answer is asked again in the background, as the other core may be gone for good."""
        if self._source is None or self.published or self._task is not None:
            return
        if not self._source.startswith(("http://", "https://")):
            self._take(await asyncio.to_thread(_read_file, self._source))
        elif not await self._try(self._source):
            self._task = asyncio.create_task(self._go_on_trying(self._source))

    async def close(self) -> None:
        """Stop trying."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _go_on_trying(self, url: str) -> None:
        is_read = False
        while not is_read:
            await asyncio.sleep(RETRY_SECONDS)
            is_read = await self._try(url)

    async def _try(self, url: str) -> bool:
        try:
            self._take(await asyncio.to_thread(_fetch, url))
        except GeneralError as error:
            _logger.warning("%s", error.message)
            return False
        return True

    def _take(self, raw: bytes) -> None:
        keys = read_jwks(raw)
        if keys is None:
            raise _refused("that is no JWK Set")
        if not keys.verifiers:
            raise _refused("there is no key in it that access tokens are signed with, such as RSA of 2048 bits")
        self.keys = keys
        self.published = [
            {**verifier.public_members(), "kid": kid, "alg": verifier.algorithm, "use": "sig"}
            for kid, verifier in keys.verifiers.items()
        ]
        _logger.info("access tokens of the former core are accepted; it has %d keys", len(self.published))


def _read_file(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise _refused(f"the file cannot be read ({type(error).__name__})") from None


def _fetch(url: str) -> bytes:
    request = Request(url, headers={"accept": "application/json"})  # noqa: S310 - http and https alone get here
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
            data: bytes = answer.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        raise _refused(f"it gives no answer ({type(error).__name__})") from None
    return data


def _refused(why: str) -> GeneralError:
    said = f"former_core_jwks must be the URL or the file of a core's JWK Set, but {why}"
    return GeneralError(said, reason="bad_config")
