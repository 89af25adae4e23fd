"""One app as the service knows it: its settings, and a deployment for each way in which versions of the interface
differ."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from tallystick.calls import Flow
from tallystick.config import PUBLIC, Retirement, milliseconds
from tallystick.deployment import Deployment, make_deployment
from tallystick.errors import TryRefreshToken
from tallystick.key_flows import open_token, signing_key
from tallystick.protocol.access_token import AccessToken, UnknownKey, malformed
from tallystick.protocol.core_token import open_expired_core_token
from tallystick.protocol.derivation import DerivedKeys
from tallystick.protocol.keyring import SigningKey
from tallystick.protocol.rotation import Rule
from tallystick.protocol.token_versions import (
    V5,
    Opened,
    TokenVersion,
    check_unexpired,
    open_any_access_token,
)
from tallystick.service.answers import Refusal, wrong_key
from tallystick.service.patterns import matches
from tallystick.service.predecessor import Predecessor
from tallystick.service.settings import CoreSettings, config_for
from tallystick.service.versions import Cdi, Negotiation
from tallystick.service.wire import write_key, write_key_info
from tallystick.types import Json

Secret: TypeAlias = str | bytes | Sequence[str | bytes]

TEN_YEARS: Final = 315_360_000_000
"""What CDI before 2.21 says of a static key's expiry: a duration in ms where an instant belongs (spec/cdi.md 2)."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all apps of a service share."""

    secret: Secret = field(repr=False)
    clock: Callable[[], int]
    entropy: Callable[[int], bytes]
    new_private_key: Callable[[str], bytes]
    predecessor: Predecessor


class App:
    """An app with its settings."""

    def __init__(self, app_id: str, settings: CoreSettings, around: Surroundings) -> None:
        self.app_id = app_id
        self.settings = settings
        self.versions = Negotiation(settings)
        self.deployment = make_deployment(
            config_for(settings, app_id),
            around.secret,
            clock=around.clock,
            entropy=around.entropy,
            new_private_key=around.new_private_key,
        )
        at_refresh = self.deployment.rule.refresh_validity
        self._rules = {
            False: self.deployment.rule,
            True: Rule(milliseconds(self.deployment.config.grace), at_refresh, Retirement.AT_REFRESH),
        }
        self._variants: dict[tuple[int, bool, bool | None, int], Deployment] = {}
        self._api_keys = tuple(key.encode() for key in self._accepted_keys())
        self._public_keys: dict[str, str] = {}
        # The former core's tokens do not say which app's they are, so they are good for one alone.
        self.predecessor = around.predecessor if app_id == PUBLIC else Predecessor(None)

    # Who may call

    def check_api_key(self, presented: bytes | None) -> None:
        """Raise :class:`Refusal` (401) unless ``presented`` is one of the keys, or there are none."""
        if not self._api_keys:
            return
        given = (presented or b"").strip()
        # Each is looked at, so that time does not tell which of them was nearly right.
        if not sum(hmac.compare_digest(key, given) for key in self._api_keys):
            raise wrong_key()

    def _accepted_keys(self) -> list[str]:
        extra = self.settings.supertokens_saas_secret
        return [*self.settings.api_keys, *([] if extra is None else [extra])] if self.settings.api_keys else []

    # How tokens are made

    def deployment_for(self, cdi: Cdi, static_key: bool | None = None) -> Deployment:
        """The deployment that acts as a version of the interface asks."""
        return self._variant(cdi.token_version, cdi.is_stateless, static_key)

    def deployment_as(self, opened: Opened) -> Deployment:
        """The deployment that makes another token of the same kind."""
        return self._variant(opened.version, False, opened.key is not None and opened.key.is_static)

    def deployment_for_new(self, cdi: Cdi, static_key: bool | None, validity: int | None) -> Deployment:
        """The same for a request that gets new tokens, with the validity (ms) that it asks for; else the usual one,
        shortened at random, so that clients that signed in together do not refresh together (spec/cdi.md 3.1.5)."""
        usual = self.deployment.access_token_validity
        if validity is not None:
            if not 0 < validity <= usual:
                raise Refusal(400, f"accessTokenValidity must be from 1 to {usual}, the configured validity in ms")
            return replace(self.deployment_for(cdi, static_key), access_token_validity=validity)
        sooner = self.deployment.entropy(1)[0] if self.settings.access_token_validity_jitter else 0
        return self._variant(cdi.token_version, cdi.is_stateless, static_key, sooner)

    def _variant(self, version: TokenVersion, at_refresh: bool, static_key: bool | None, sooner: int = 0) -> Deployment:
        """``sooner`` is by how much access tokens expire sooner: a byte, so that there are few different ones."""
        name = (version.number, at_refresh, static_key, sooner)
        found = self._variants.get(name)
        if found is None:
            usual = self.deployment.access_token_validity
            part = self.settings.access_token_validity_jitter * sooner / 256
            found = self._variants[name] = replace(
                self.deployment,
                token_version=version,
                rule=self._rules[at_refresh],
                static_key=static_key,
                access_token_validity=max(1000, int(usual * (1 - part))) if part else usual,
            )
        return found

    # How tokens are opened

    def open(self, text: str) -> Flow[Opened]:
        """Verify an access token of any version, its expiry too."""
        d = self.deployment
        return open_token(d, text, self._open, d.clock())

    def open_expired(self, text: str) -> Flow[Opened]:
        """The same, but for its expiry."""
        d = self.deployment
        return open_token(d, text, self._open_expired, d.clock())

    def _open(self, text: object, secrets: Sequence[DerivedKeys], now: int) -> Opened | UnknownKey:
        if type(text) is not str:
            raise malformed()
        keys = self.deployment.keys
        key = keys.ring.find(text.partition(".")[0], now)
        if key is not None:
            token = keys.open(text, secrets, now)
            return Opened(token, V5, key) if isinstance(token, AccessToken) else token
        opened = self._open_expired(text, secrets, now)
        if isinstance(opened, Opened):
            check_unexpired(opened.token, now)
        return opened

    def _open_expired(self, text: object, secrets: Sequence[DerivedKeys], now: int) -> Opened | UnknownKey:
        if type(text) is not str:
            raise malformed()
        try:
            return open_any_access_token(text, self.deployment.keys.ring, secrets, now)
        except TryRefreshToken:
            if not self.predecessor.keys.verifiers:
                raise
            theirs = open_expired_core_token(text, self.predecessor.keys)
            if isinstance(theirs, UnknownKey):
                raise
            return Opened(theirs, V5, None)

    # Keys, as clients before 2.21 are told of them

    def key_info(self, cdi: Cdi) -> Flow[Json]:
        """What a version's answers say of the signing keys: nothing from 2.21 on."""
        if not cdi.is_before_kids:
            return {}
        now = self.deployment.clock()
        if not self.settings.access_token_signing_key_dynamic:
            return self._static_key_info((yield from signing_key(self.deployment, now, is_static=True)), cdi)
        key = yield from signing_key(self.deployment, now)
        schedule, ring = self.deployment.schedule, self.deployment.keys.ring
        listed = [
            write_key(self._public_key(each), each.created_at + schedule.lifetime, each.created_at)
            for each in ring.keys
            if not each.is_static and each.created_at + schedule.lifetime >= now
        ]
        public_key = self._public_key(key)
        return write_key_info(public_key, key.created_at + schedule.interval, listed if cdi.lists_keys else None)

    def _static_key_info(self, key: SigningKey, cdi: Cdi) -> Json:
        public_key, created_at = self._public_key(key), int(key.kid.split("-")[1])
        listed = [write_key(public_key, created_at + TEN_YEARS, created_at)]
        return write_key_info(public_key, TEN_YEARS, listed if cdi.lists_keys else None)

    def _public_key(self, key: SigningKey) -> str:
        """Base64 of DER, without the lines of PEM."""
        found = self._public_keys.get(key.kid)
        if found is None:
            found = self._public_keys[key.kid] = b64encode(key.signer.public_der()).decode("ascii")
        return found


def check_address(settings: CoreSettings, client: tuple[str, int] | None) -> None:
    """Raise :class:`Refusal` (403) for a caller from where the settings let nobody call."""
    if not may_call_from(settings, client):
        raise Refusal(403, "")


def may_call_from(settings: CoreSettings, client: tuple[str, int] | None) -> bool:
    """Whether the settings let anybody call from this address."""
    allow, deny = settings.ip_allow_regex, settings.ip_deny_regex
    if allow is None and deny is None:
        return True
    address = client[0] if client else ""
    return (not allow or matches(allow, address)) and not (deny and matches(deny, address))


def check_anti_csrf_strictly(token: AccessToken, presented: str | None) -> None:
    """Refuse a token without an anti-CSRF token as well: here the caller says that there is to be one (spec/cdi.md
    4.2)."""
    expected = (token.anti_csrf_token or "").encode()
    if not expected or not hmac.compare_digest(expected, (presented or "").encode("utf-8", "surrogatepass")):
        raise TryRefreshToken("the anti-CSRF token is missing or not this session's", reason="anti_csrf_failed")
