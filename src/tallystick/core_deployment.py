"""What an app has in hand whose sessions a core keeps: its settings, the core's public keys, its clock and its dice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from tallystick.config import AntiCsrf, Config, Settings
from tallystick.errors import GeneralError
from tallystick.protocol.access_token import AccessToken, UnknownKey
from tallystick.protocol.core_token import NO_KEYS, PublishedKeys, open_expired_core_token
from tallystick.protocol.revocation import RevocationView, make_view
from tallystick.verified_tokens import VerifiedCoreTokens

LONGEST_FRESH: Final = 3_600_000
"""When keys are looked for again at the latest, in ms, while the old ones serve. A core publishes a key a minute before
its first use, and says by ``max-age`` when the next one comes (spec/cdi.md 3.3)."""
SHORTEST_FRESH: Final = 10_000
"""And at the soonest; also after an attempt that failed."""
LONGEST_STALE: Final = 86_400_000
"""For how long keys serve that could not be looked for again. With the core gone nobody gets new tokens, so there is
hardly one left by then; and a key that was withdrawn must not be good for ever to one who can cut us off."""
MISS_COOLDOWN: Final = 1_000
"""For how long, in ms, keys that were just read are believed to be all, whatever ids strangers make up."""
LONGEST_RENEWAL: Final = 60_000
"""After this a renewal that has not reported back is taken for dead, as after a fork."""

_DECIDED_BY_CORE: Final = {
    "access_token_validity": "access_token_validity",
    "refresh_token_validity": "refresh_token_validity",
    "idle_timeout": "refresh_token_validity",
    "absolute_lifetime": "absolute_lifetime (of tallystick serve; a SuperTokens core has none)",
    "grace": "refresh_token_rotation_grace_period",
    "signing_key_interval": "access_token_dynamic_signing_key_update_interval",
    "retirement": "",
    "algorithm": "",
    "max_sessions_per_user": "",
    "session_limit_policy": "",
    "keep_user_agent": "",
    "keep_address": "",
    "theft_retention": "",
}
"""Settings that have no meaning here, and what they are called in the core's own configuration."""


@dataclass(slots=True)
class CoreKeys:
    """The core's public keys as they were last read, and the tokens that they have verified."""

    verified: VerifiedCoreTokens
    read_at: int | None = None
    looked_at: int | None = None
    """When somebody last looked for new ones, with success or without."""
    fresh_until: int = 0
    renewing_since: int | None = None
    renewal: object = None
    """What runs, so that it is not lost while it does."""

    def open(self, text: object, now: int) -> AccessToken | UnknownKey:
        """Verify an access token, or recall that it was verified."""
        return self.verified.open(text, (), now)

    def open_expired(self, text: object, now: int) -> AccessToken | UnknownKey:
        """The same, but for its expiry."""
        return open_expired_core_token(text, self.verified.keys)

    def are_usable(self, now: int) -> bool:
        """Whether there are keys that are not too old."""
        return self.read_at is not None and abs(now - self.read_at) < LONGEST_STALE

    def want_renewal(self, now: int) -> bool:
        """Whether somebody should look for new keys, and nobody does."""
        if self.looked_at is not None and self.looked_at <= now < self.fresh_until:
            return False
        return self.renewing_since is None or not 0 <= now - self.renewing_since < LONGEST_RENEWAL

    def end_renewal(self, now: int) -> None:
        """Whoever looked for new keys is back; if without any, the old ones serve for a while."""
        self.renewing_since, self.renewal = None, None
        self.looked_at, self.fresh_until = now, max(self.fresh_until, now + SHORTEST_FRESH)

    def were_just_read(self, now: int) -> bool:
        """Whether it is too soon to look again for a key that is not there."""
        return self.read_at is not None and 0 <= now - self.read_at < MISS_COOLDOWN

    def take(self, keys: PublishedKeys, max_age: int | None, now: int) -> None:
        """Go on with these keys. If they are the same, what they have verified is still good."""
        fresh = LONGEST_FRESH if max_age is None else max_age * 1000
        self.fresh_until = now + min(max(fresh, SHORTEST_FRESH), LONGEST_FRESH)
        self.read_at = self.looked_at = now
        if keys.document != self.verified.keys.document:
            self.verified = VerifiedCoreTokens(keys, self.verified.capacity)


@dataclass(frozen=True, slots=True)
class CoreDeployment:
    """All that the flows of a remote core need besides the core."""

    config: Config
    clock: Callable[[], int] = field(repr=False)
    """The present, in ms since the epoch."""
    entropy: Callable[[int], bytes] = field(repr=False)
    """So many bytes from a cryptographically secure source."""
    keys: CoreKeys = field(repr=False)
    view: RevocationView | None = None
    """What is known of endings; None where nobody follows them."""
    steady: Callable[[], float] = field(default=float, repr=False)
    """A clock that never jumps, in seconds, for the view."""

    def new_uuid(self) -> str:
        """A random UUID (RFC 9562 version 4)."""
        return str(UUID(bytes=self.entropy(16), version=4))


def make_core_deployment(
    settings: Settings,
    *,
    clock: Callable[[], int],
    entropy: Callable[[int], bytes],
    steady: Callable[[], float] = float,
) -> CoreDeployment:
    """Check the settings. Raises :class:`GeneralError` (``bad_config``) for one that is the core's to decide."""
    for name in settings:
        if name in _DECIDED_BY_CORE:
            raise _not_here(name, _DECIDED_BY_CORE[name])
    config = Config(**settings)
    if config.is_classic and config.anti_csrf is AntiCsrf.VIA_TOKEN:
        raise GeneralError(
            "a core checks the anti-CSRF token at each refresh, which clients of the classic interface do not send: "
            "with a core use the presets with anti_csrf=AntiCsrf.NONE",
            reason="bad_config",
        )
    keys = CoreKeys(VerifiedCoreTokens(NO_KEYS, config.verified_token_cache))
    view = make_view(config, is_cores=True) if config.instant_revocation else None
    return CoreDeployment(config, clock, entropy, keys, view, steady)


def _not_here(name: str, theirs: str) -> GeneralError:
    where = f"set {theirs} in its configuration" if theirs else "its interface knows nothing of the kind"
    return GeneralError(
        f"{name} is not for the app to say where a core keeps the sessions: {where}", reason="bad_config"
    )
