"""Claims: values in the JWT payload, each with a way to fetch it, and conditions on them (spec/fdi.md 3.8).

A claim lies in the payload as ``{"v": value, "t": when it was fetched, in ms}``: so other SDKs write it, and so the
browser's validators read it. An entry of any other shape counts as missing, and so does a value of another kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar, cast

from tallystick.config import Duration, check_age
from tallystick.errors import BadInput, GeneralError
from tallystick.protocol.access_token import RESERVED_CLAIMS
from tallystick.types import ClaimValidationError, Json, SessionInfo

Primitive: TypeAlias = str | int | float | bool

V = TypeVar("V")
P = TypeVar("P", bound=Primitive)

FetchValue: TypeAlias = Callable[[str, str, Json], V | Awaitable[V | None] | None]
"""Given the user's id, the tenant's id and the present payload; None leaves the payload as it is."""

AUTH_TIME: Final = "auth_time"
"""When the user last authenticated, in seconds since the epoch (OpenID Connect Core 2, RFC 9068 section 2.2.1)."""

_LEEWAY: Final = 60_000
"""How far ahead, in ms, the clock of whoever authenticated the user may be."""


class SessionClaimValidator(Protocol):
    """A condition on the payload. Those of the claims' ``validators`` are some; write your own for others."""

    @property
    def id(self) -> str:
        """What the client is told has failed."""
        ...

    @property
    def claim(self) -> SessionClaim[Any] | None:
        """What is fetched where :meth:`should_refetch` says so; None: nothing."""
        ...

    def should_refetch(self, payload: Json, now: int) -> bool:
        """Tell whether the claim is missing, or too old at ``now`` (ms)."""
        ...

    def validate(self, payload: Json, now: int) -> ClaimValidationError | None:
        """Why the payload does not do at ``now``; None where it does."""
        ...


Validators: TypeAlias = Sequence[SessionClaimValidator]
OverrideValidators: TypeAlias = Callable[[Validators, SessionInfo], Iterable[SessionClaimValidator]]
"""From the global validators and the session to those that are to be checked."""


@dataclass(frozen=True, slots=True)
class SessionClaim(ABC, Generic[V]):
    """A value in the payload under ``key``.

    ``fetch_value`` finds it; it may be asynchronous where :class:`~tallystick.AsyncSessions` uses it. With
    ``default_max_age``, validators have it fetched anew when it is older. Raises :class:`GeneralError`
    (``bad_config``) for a key or a maximum age that does not do.
    """

    key: str
    fetch_value: FetchValue[V] = field(repr=False)
    default_max_age: Duration | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not self.key or self.key in RESERVED_CLAIMS:
            raise _refused("a claim's key", self.key, "a str that is none of the session's own claims")
        if not callable(self.fetch_value):
            raise _refused("fetch_value", self.fetch_value, "a function")
        if self.default_max_age is not None:
            check_age("default_max_age", self.default_max_age)

    @abstractmethod
    def fits(self, value: object) -> bool:
        """Tell whether ``value`` is of the claim's kind."""

    def get_value_from_payload(self, payload: Json) -> V | None:
        """The value, or None where there is none."""
        found = self._read(payload)
        return None if found is None else found[0]

    def get_last_refetch_time(self, payload: Json) -> int | None:
        """When the value was fetched or set, in ms since the epoch."""
        found = self._read(payload)
        return None if found is None else found[1]

    def make_update(self, value: object, now: int) -> Json:
        """What to merge into a payload to set the value. Raises :class:`BadInput` (``bad_claim_value``)."""
        if isinstance(value, tuple):
            value = list(cast(tuple[object, ...], value))
        if not self.fits(value):
            raise BadInput(
                f"{type(self).__name__} {self.key!r} cannot hold a value of type {type(value).__name__}",
                reason="bad_claim_value",
            )
        return {self.key: {"v": value, "t": now}}

    def make_removal(self) -> Json:
        """What to merge into a payload to remove the claim."""
        return {self.key: None}

    def _read(self, payload: Json) -> tuple[V, int] | None:
        entry = payload.get(self.key)
        if not isinstance(entry, dict):
            return None
        written = cast(Json, entry)
        value, fetched_at = written.get("v"), written.get("t")
        # By its type, as True is an int.
        return (cast(V, value), fetched_at) if type(fetched_at) is int and self.fits(value) else None


class PrimitiveClaim(SessionClaim[P]):
    """A claim that is a str, a number or a bool."""

    __slots__ = ()

    def fits(self, value: object) -> bool:
        return isinstance(value, str | int | float)

    @property
    def validators(self) -> PrimitiveValidators[P]:
        """Conditions on this claim."""
        return PrimitiveValidators(self)


class BooleanClaim(PrimitiveClaim[bool]):
    """A claim that is true or false."""

    __slots__ = ()

    def fits(self, value: object) -> bool:
        return isinstance(value, bool)

    @property
    def validators(self) -> BooleanValidators:
        """Conditions on this claim."""
        return BooleanValidators(self)


class PrimitiveArrayClaim(SessionClaim[list[P]]):
    """A claim that is a list of str, numbers or bools."""

    __slots__ = ()

    def fits(self, value: object) -> bool:
        if not isinstance(value, list):
            return False
        return all(isinstance(one, str | int | float) for one in cast(list[object], value))

    @property
    def validators(self) -> ArrayValidators[P]:
        """Conditions on this claim."""
        return ArrayValidators(self)


@dataclass(frozen=True, slots=True)
class _Condition:
    """One condition on one claim. ``expectation`` is the word that the client reads before what was expected."""

    id: str
    claim: SessionClaim[Any]
    expectation: str
    expected: object
    holds: Callable[[Any], bool] = field(repr=False)
    max_age: int | None

    def should_refetch(self, payload: Json, now: int) -> bool:
        fetched_at = self.claim.get_last_refetch_time(payload)
        return fetched_at is None or (self.max_age is not None and fetched_at < now - self.max_age)

    def validate(self, payload: Json, now: int) -> ClaimValidationError | None:
        value, fetched_at = self.claim.get_value_from_payload(payload), self.claim.get_last_refetch_time(payload)
        if fetched_at is None:
            return self._differs("value does not exist", None)
        if self.max_age is not None and now - fetched_at > self.max_age:
            return ClaimValidationError(self.id, _expired(now - fetched_at, self.max_age))
        return None if self.holds(value) else self._differs("wrong value", value)

    def _differs(self, message: str, value: object) -> ClaimValidationError:
        reason = {"message": message, self.expectation: self.expected, "actualValue": value}
        return ClaimValidationError(self.id, reason)


@dataclass(frozen=True, slots=True)
class PrimitiveValidators(Generic[P]):
    """Conditions on a :class:`PrimitiveClaim`.

    ``max_age``: have the value fetched anew when it is older; None is the claim's own ``default_max_age``. ``id_``:
    what the client is told has failed; None is the claim's key. All validators take both.
    """

    claim: SessionClaim[P]

    def has_value(self, val: P, max_age: Duration | None = None, id_: str | None = None) -> SessionClaimValidator:
        """The value is ``val``."""
        return _condition(self.claim, "expectedValue", val, lambda value: _is_same(value, val), max_age, id_)


class BooleanValidators(PrimitiveValidators[bool]):
    """Conditions on a :class:`BooleanClaim`."""

    __slots__ = ()

    def is_true(self, max_age: Duration | None = None, id_: str | None = None) -> SessionClaimValidator:
        """The value is true."""
        return self.has_value(True, max_age, id_)

    def is_false(self, max_age: Duration | None = None, id_: str | None = None) -> SessionClaimValidator:
        """The value is false; a missing one is not."""
        return self.has_value(False, max_age, id_)


@dataclass(frozen=True, slots=True)
class ArrayValidators(Generic[P]):
    """Conditions on a :class:`PrimitiveArrayClaim`. A missing list satisfies none, ``excludes`` neither."""

    claim: SessionClaim[list[P]]

    def includes(self, val: P, max_age: Duration | None = None, id_: str | None = None) -> SessionClaimValidator:
        """``val`` is in the list."""
        return _condition(self.claim, "expectedToInclude", val, lambda found: _has(found, val), max_age, id_)

    def excludes(self, val: P, max_age: Duration | None = None, id_: str | None = None) -> SessionClaimValidator:
        """``val`` is not in the list."""
        return _condition(self.claim, "expectedToNotInclude", val, lambda found: not _has(found, val), max_age, id_)

    def includes_all(
        self, val: Sequence[P], max_age: Duration | None = None, id_: str | None = None
    ) -> SessionClaimValidator:
        """All of ``val`` are in the list."""
        wanted = _check_list(val)
        return _condition(
            self.claim,
            "expectedToInclude",
            wanted,
            lambda found: all(_has(found, one) for one in wanted),
            max_age,
            id_,
        )

    def includes_any(
        self, val: Sequence[P], max_age: Duration | None = None, id_: str | None = None
    ) -> SessionClaimValidator:
        """One of ``val`` at least is in the list."""
        wanted = _check_list(val)
        return _condition(
            self.claim,
            "expectedToIncludeAtLeastOneOf",
            wanted,
            lambda found: any(_has(found, one) for one in wanted),
            max_age,
            id_,
        )

    def excludes_all(
        self, val: Sequence[P], max_age: Duration | None = None, id_: str | None = None
    ) -> SessionClaimValidator:
        """None of ``val`` is in the list."""
        unwanted = _check_list(val)
        return _condition(
            self.claim,
            "expectedToNotInclude",
            unwanted,
            lambda found: not any(_has(found, one) for one in unwanted),
            max_age,
            id_,
        )


@dataclass(frozen=True, slots=True)
class _FreshWithin:
    id: str
    max_age: int
    claim: None = None

    def should_refetch(self, payload: Json, now: int) -> bool:
        return False  # only the user can do something about it

    def validate(self, payload: Json, now: int) -> ClaimValidationError | None:
        value: object = payload.get(AUTH_TIME)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._differs("value does not exist", None)
        age = now - value * 1000
        # An instant in ms, taken for one in seconds, would be fresh for ever.
        if age < -_LEEWAY:
            return self._differs("wrong value", value)
        return ClaimValidationError(self.id, _expired(int(age), self.max_age)) if age > self.max_age else None

    def _differs(self, message: str, value: object) -> ClaimValidationError:
        reason = {"message": message, "maxAgeInSeconds": _seconds(self.max_age), "actualValue": value}
        return ClaimValidationError(self.id, reason)


def fresh_within(max_age: Duration, id_: str = AUTH_TIME) -> SessionClaimValidator:
    """The user has authenticated at most ``max_age`` ago (ASVS V7.5.1): by the claim ``auth_time``, in seconds since
    the epoch, which the app puts into the payload when it authenticates a user, and only then. No refresh moves it."""
    return _FreshWithin(id_, check_age("max_age", max_age))


def check_claim(claim: object) -> SessionClaim[Any]:
    """A claim. Raises :class:`BadInput` (``bad_claim``) for anything else."""
    if not isinstance(claim, SessionClaim):
        raise BadInput(f"claim must be a SessionClaim, not {type(claim).__name__}", reason="bad_claim")
    return cast(SessionClaim[Any], cast(object, claim))


def check_validators(validators: object, name: str) -> tuple[SessionClaimValidator, ...]:
    """A collection of validators. Raises :class:`GeneralError` (``bad_config``) for anything else."""
    if isinstance(validators, str | bytes) or not isinstance(validators, Iterable):
        raise _refused(name, validators, "a list of claim validators")
    checked = tuple(cast(Iterable[object], validators))
    for one in checked:
        if not all(hasattr(one, part) for part in ("id", "claim", "should_refetch", "validate")):
            raise _refused(name, one, "a list of claim validators, such as [CLAIM.validators.has_value(1)]")
    return cast(tuple[SessionClaimValidator, ...], checked)


def choose_validators(validators: Validators, override: object, session: SessionInfo) -> Validators:
    """The global validators, or what ``override`` makes of them for this session."""
    if override is None:
        return validators
    name = "override_global_claim_validators"
    if not callable(override):
        raise _refused(name, override, "a function of the global validators and the session")
    return check_validators(override(validators, session), name)


def validate_claims(validators: Validators, payload: Json, now: int) -> tuple[ClaimValidationError, ...]:
    """What is wrong with a payload, in the validators' order."""
    return tuple(error for one in validators if (error := one.validate(payload, now)) is not None)


def _condition(
    claim: SessionClaim[Any],
    expectation: str,
    expected: object,
    holds: Callable[[Any], bool],
    max_age: Duration | None,
    id_: str | None,
) -> SessionClaimValidator:
    age = claim.default_max_age if max_age is None else max_age
    checked = None if age is None else check_age("max_age", age)
    return _Condition(claim.key if id_ is None else id_, claim, expectation, expected, holds, checked)


def _check_list(values: Sequence[P]) -> list[P]:
    # A str is a sequence too, of its characters.
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise _refused("val", values, "a list")
    return list(values)


def _is_same(one: object, other: object) -> bool:
    """As JSON and browsers have it: 1 is 1.0, but neither is true."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _has(values: Iterable[object], wanted: object) -> bool:
    return any(_is_same(value, wanted) for value in values)


def _expired(age: int, max_age: int) -> Json:
    return {"message": "expired", "ageInSeconds": _seconds(age), "maxAgeInSeconds": _seconds(max_age)}


def _seconds(duration: int) -> int | float:
    return duration / 1000 if duration % 1000 else duration // 1000


def _refused(name: str, value: object, accepted: str) -> GeneralError:
    return GeneralError(f"{name} is {value!r:.80}, but must be {accepted}", reason="bad_config")
