"""What a running deployment has in hand: its settings, its derived keys, its key ring, its clock and its dice.

The clock and the dice come in from the facade, which is the only place where they are real.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from tallystick.config import PUBLIC, Config, milliseconds
from tallystick.protocol.access_token import AccessToken, UnknownKey, open_expired_access_token
from tallystick.protocol.derivation import DerivedKeys, derive_all
from tallystick.protocol.keyring import Keyring, Schedule, empty_keyring
from tallystick.protocol.revocation import CLOCKS_APART, RevocationView, digest_payload, make_view
from tallystick.protocol.rotation import Rule
from tallystick.protocol.token_versions import V5, TokenVersion
from tallystick.types import Cause, EndingKind
from tallystick.verified_tokens import VerifiedTokens


@dataclass(slots=True)
class KeyState:
    """The one thing in a deployment that changes: the picture of the store's signing keys.

    A ring is replaced whole, so threads see the old one or the new one and never half of either.
    """

    verified: VerifiedTokens
    is_renewing: bool = False
    """One caller at a time looks for new keys while the others go on with what there is."""
    missed_at: int = 0
    """When a genuine key id was last looked for and not found."""

    @property
    def ring(self) -> Keyring:
        """The keys."""
        return self.verified.ring

    def open(self, text: object, secrets: Sequence[DerivedKeys], now: int) -> AccessToken | UnknownKey:
        """Verify an access token, or recall that it was verified."""
        return self.verified.open(text, secrets, now)

    def open_expired(self, text: object, secrets: Sequence[DerivedKeys], now: int) -> AccessToken | UnknownKey:
        """The same, but for its expiry."""
        return open_expired_access_token(text, self.ring, secrets, now)

    def replace(self, ring: Keyring) -> None:
        """Go on with another ring, and forget what the former one has verified."""
        self.verified = VerifiedTokens(ring, self.verified.capacity)


@dataclass(frozen=True, slots=True)
class Deployment:
    """All that the flows need besides the store."""

    config: Config
    secrets: tuple[DerivedKeys, ...] = field(repr=False)
    rule: Rule
    schedule: Schedule
    access_token_validity: int
    """In ms, as all durations here."""
    inactivity_limit: int
    absolute_lifetime: int
    clock: Callable[[], int] = field(repr=False)
    """The present, in ms since the epoch."""
    entropy: Callable[[int], bytes] = field(repr=False)
    """So many bytes from a cryptographically secure source."""
    new_private_key: Callable[[str], bytes] = field(repr=False)
    """A new private key for an algorithm, as PKCS #8 DER."""
    keys: KeyState = field(repr=False)
    token_version: TokenVersion = V5
    """Of the access tokens that are made."""
    static_key: bool | None = None
    """Whether they are signed with a static key; None: not at first, and later as the session's last were."""
    view: RevocationView | None = None
    """What is known of endings; None where nobody follows them."""
    steady: Callable[[], float] = field(default=float, repr=False)
    """A clock that never jumps, in seconds, for the view; 0.0 where there is none."""

    @property
    def app_id(self) -> str:
        """The app whose sessions these are."""
        return self.config.app_id

    def cause(self, kind: EndingKind, now: int, payload: str | None = None) -> Cause:
        """Why sessions end, or change to another payload, now; for as long as an access token of before may be out:
        by the settings, as ``access_token_validity`` may be shorter for those that a single request makes."""
        forget_at = now + milliseconds(self.config.access_token_validity) + CLOCKS_APART
        return Cause(kind, now, forget_at, None if payload is None else digest_payload(payload))

    def new_uuid(self) -> str:
        """A random UUID (RFC 9562 version 4)."""
        return str(UUID(bytes=self.entropy(16), version=4))

    def new_handle(self, tenant_id: str) -> str:
        """A new session handle: a UUID, and the tenant's id unless that is the public one (spec/cdi.md 2.12)."""
        uuid = self.new_uuid()
        return uuid if tenant_id == PUBLIC else f"{uuid}_{tenant_id}"


def make_deployment(
    config: Config,
    secret: str | bytes | Sequence[str | bytes],
    *,
    clock: Callable[[], int],
    entropy: Callable[[int], bytes],
    new_private_key: Callable[[str], bytes],
    steady: Callable[[], float] = float,
) -> Deployment:
    """Derive everything from the settings. Raises :class:`GeneralError` for a secret that does not do."""
    access = milliseconds(config.access_token_validity)
    inactivity = milliseconds(config.inactivity_limit)
    schedule = Schedule(milliseconds(config.signing_key_interval), access)
    return Deployment(
        config=config,
        secrets=derive_all(secret, config.app_id),
        rule=Rule(milliseconds(config.grace), inactivity, config.retirement),
        schedule=schedule,
        access_token_validity=access,
        inactivity_limit=inactivity,
        absolute_lifetime=milliseconds(config.absolute_lifetime),
        clock=clock,
        entropy=entropy,
        new_private_key=new_private_key,
        keys=KeyState(VerifiedTokens(empty_keyring(schedule, config.algorithm), config.verified_token_cache)),
        view=make_view(config) if config.instant_revocation else None,
        steady=steady,
    )
