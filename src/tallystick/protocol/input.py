"""What an app may put into a session: checked at the border, once, with an error that says what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from tallystick.config import Config
from tallystick.errors import BadInput, GeneralError
from tallystick.protocol.access_token import RESERVED_CLAIMS
from tallystick.types import ClientInfo, Json

MAX_USER_ID: Final = 128
MAX_HANDLE: Final = 255
"""Characters, as other implementations' tables have them (spec/cdi.md 1.5.2)."""
MAX_USER_AGENT: Final = 255
MAX_ADDRESS: Final = 64
"""Characters that are kept. An IPv6 address with a zone has fewer."""
MAX_LISTED: Final = 1000
"""How many theft events are listed at once."""

_MAX_DEPTH: Final = 32
_MAX_INT: Final = 2**63
_TENANT_ID = re.compile(r"[a-z0-9-]{1,64}")
_NOT_TENANTS: Final = frozenset({"recipe", "config", "users", "hello"})

_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


def decode_json(text: str) -> Json:
    """JSON text that a store kept, as an object. Raises :class:`GeneralError` (``corrupt_row``) where it is none: that
    is the store's fault, and no reason to sign anybody out."""
    try:
        return _decode_object(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise GeneralError(
            "the store holds something else than the JSON that was put into it", reason="corrupt_row"
        ) from error


def encode_json(value: Json) -> str:
    """An object that was checked, as compact JSON text."""
    return msgspec.json.encode(value).decode("utf-8")


def check_user_id(user_id: object) -> str:
    """A user id: text of 1 to 128 characters, any that UTF-8 has but NUL."""
    if not isinstance(user_id, str):
        raise BadInput(f"user_id must be a str, not {type(user_id).__name__}", reason="bad_user_id")
    if not 0 < len(user_id) <= MAX_USER_ID:
        raise BadInput(
            f"user_id must have 1 to {MAX_USER_ID} characters, not {len(user_id)}",
            reason="bad_user_id",
        )
    if not _is_storable(user_id):
        raise BadInput("user_id has a NUL or a lone surrogate in it", reason="bad_user_id")
    return _plain(user_id)


def could_be_user(user_id: str) -> bool:
    """Tell whether a store could hold sessions of this user, so that no other is ever asked for."""
    return 0 < len(user_id) <= MAX_USER_ID and _is_storable(user_id)


def check_tenant_id(tenant_id: object) -> str:
    """A tenant id as spec/cdi.md 1.4 has it."""
    if (
        not isinstance(tenant_id, str)
        or not _TENANT_ID.fullmatch(tenant_id)
        or tenant_id in _NOT_TENANTS
        or tenant_id.startswith("appid-")
    ):
        raise BadInput(
            "tenant_id must be 1 to 64 characters of a-z, 0-9 and -, must not begin with 'appid-' and must not be "
            f"one of {', '.join(sorted(_NOT_TENANTS))}",
            reason="bad_tenant_id",
        )
    return _plain(tenant_id)


def check_handles(handles: object) -> list[str]:
    """A collection of session handles. A single str is refused, as its characters would be taken for handles."""
    if isinstance(handles, str | bytes) or not isinstance(handles, Iterable):
        raise BadInput(f"handles must be a list of str, not {type(handles).__name__}", reason="bad_handle")
    return [check_handle(handle) for handle in cast(Iterable[object], handles)]


def check_handle(handle: object) -> str:
    """A session handle is any str; whether there is such a session is another question."""
    if not isinstance(handle, str):
        raise BadInput(f"a session handle must be a str, not {type(handle).__name__}", reason="bad_handle")
    return _plain(handle)


def could_be_handle(handle: str) -> bool:
    """Tell whether a store could hold this handle, so that no other is ever asked for."""
    return 0 < len(handle) <= MAX_HANDLE and _is_storable(handle)


def check_client(client: object, config: Config) -> ClientInfo:
    """What is to be kept of a client: what the settings let, cut to size, without control characters."""
    if client is None:
        return ClientInfo()
    if not isinstance(client, ClientInfo):
        raise BadInput(f"client must be a ClientInfo, not {type(client).__name__}", reason="bad_client")
    return ClientInfo(
        _check_line(client.user_agent, MAX_USER_AGENT, "user_agent") if config.keep_user_agent else None,
        _check_line(client.address, MAX_ADDRESS, "address") if config.keep_address else None,
    )


def check_limit(limit: object) -> int:
    """How many to list: 1 to :data:`MAX_LISTED`."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= MAX_LISTED:
        raise BadInput(f"limit must be an int from 1 to {MAX_LISTED}, not {limit!r:.40}", reason="bad_limit")
    return int(limit)


def check_jwt_payload(payload: object, reserved_claims: Sequence[str] = RESERVED_CLAIMS) -> Json:
    """A JWT payload, or what is to be merged into one: a JSON object without any of Tallystick's own claims. Returns a
    copy. Whether the token with it fits a cookie is for :func:`~tallystick.protocol.size.check_fits` to say."""
    checked = _check_object(payload, "jwt_payload")
    reserved = [name for name in reserved_claims if name in checked]
    if reserved:
        raise BadInput(
            f"jwt_payload must not set {', '.join(reserved)}: the session's own claims. Rename yours",
            reason="reserved_claim",
        )
    return checked


def check_session_data(data: object, limit: int) -> Json:
    """Session data: a JSON object of at most ``limit`` bytes. Returns a copy."""
    checked = _check_object(data, "session_data")
    size = len(msgspec.json.encode(checked))
    if size > limit:
        raise BadInput(
            f"session_data is {size} bytes as JSON, but may be at most {limit} (max_session_data_bytes). "
            "Keep large things in your own tables and their ids here",
            reason="too_large",
        )
    return checked


def merge_payload(payload: Json, update: Json) -> Json:
    """``payload`` with ``update`` merged into its top level; null removes a key (spec/fdi.md 3.6)."""
    merged = {**payload, **update}
    return {name: value for name, value in merged.items() if name not in update or value is not None}


def _check_object(value: object, name: str) -> Json:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadInput(
            f"{name} must be a JSON object (a dict), not {type(value).__name__}",
            reason="not_an_object",
        )
    checked = _check_json(cast(object, value), name, 0)
    return cast(Json, checked)


def _check_json(value: object, where: str, depth: int) -> Any:  # noqa: ANN401 - any JSON
    """A copy of ``value`` in which there is nothing but JSON (RFC 8259), or the refusal of the first thing that is
    not."""
    if depth > _MAX_DEPTH:
        raise BadInput(f"{where} is nested deeper than {_MAX_DEPTH} levels", reason="not_json")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and _has_no_surrogate(value):
        return _plain(value)
    # Not `in range(...)`: for a subclass of int, an IntEnum say, that would count through the whole range.
    if isinstance(value, int) and -_MAX_INT <= value < _MAX_INT:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return [_check_json(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(cast(Sequence[object], value))]
    if isinstance(value, Mapping):
        return {
            _check_name(k, where): _check_json(v, f"{where}[{k!r:.40}]", depth + 1)
            for k, v in cast(Mapping[object, object], value).items()
        }
    raise BadInput(
        f"{where} is not JSON: {_describe(value)}. JSON has str, int of 64 bits, finite float, bool, None, list and "
        "dict with str keys",
        reason="not_json",
    )


def _check_line(text: object, limit: int, name: str) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise BadInput(f"a client's {name} must be a str, not {type(text).__name__}", reason="bad_client")
    return "".join(filter(str.isprintable, text[:limit])) or None


def _check_name(name: object, where: str) -> str:
    if not isinstance(name, str) or not _has_no_surrogate(name):
        raise BadInput(f"{where} is not JSON: it has a key that is {_describe(name)}", reason="not_json")
    return _plain(name)


def _describe(value: object) -> str:
    """What kind of thing it is, never what it holds."""
    kind = type(value).__name__
    return f"{kind} out of range" if isinstance(value, int | float | str) else kind


def _plain(text: str) -> str:
    """The same text as a plain str: encoders and drivers refuse subclasses such as Django's SafeString, and str() of a
    ``class Role(str, Enum)`` would be the member's name."""
    return str.__str__(text)


def _has_no_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_storable(text: str) -> bool:
    return "\0" not in text and _has_no_surrogate(text)
