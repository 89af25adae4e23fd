"""How the interface reads JSON and queries: to the letter of spec/cdi.md 1.5.1, where SDKs may lean on it."""

from __future__ import annotations

import math
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import msgspec

from tallystick.service.answers import Refusal
from tallystick.types import Json

_decode: Final = msgspec.json.Decoder().decode

_MAX_QUERY_FIELDS: Final = 100


def parse_body(raw: bytes) -> Json:
    """A request's body: a JSON object, whatever its Content-Type says."""
    try:
        body = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Refusal(400, "Invalid Json Input") from None
    if type(body) is not dict:
        raise Refusal(400, "Invalid Json Input")
    return cast(Json, body)


def parse_query(raw: bytes) -> dict[str, str]:
    """A request's query; of several of one name the first counts."""
    try:
        pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        raise Refusal(400, f"the query has more than {_MAX_QUERY_FIELDS} fields") from None
    return dict(reversed(pairs))


# Fields of a body. An explicit null is no absence.


def need_text(body: Json, name: str) -> str:
    """Text, which may be empty."""
    value = body.get(name)
    if type(value) is not str:
        raise invalid(name)
    return value


def find_text(body: Json, name: str) -> str | None:
    """Text, or None where it was not given."""
    return need_text(body, name) if name in body else None


def need_flag(body: Json, name: str) -> bool:
    """A boolean. A number is read as false, as the interface always did."""
    value = body.get(name)
    if type(value) is bool:
        return value
    if type(value) in (int, float):
        return False
    raise invalid(name)


def find_flag(body: Json, name: str) -> bool | None:
    """A boolean, or None where it was not given."""
    return need_flag(body, name) if name in body else None


def need_object(body: Json, name: str) -> Json:
    """An object."""
    value = body.get(name)
    if type(value) is not dict:
        raise invalid(name)
    return cast(Json, value)


def find_object(body: Json, name: str) -> Json | None:
    """An object, or None where it was not given."""
    return need_object(body, name) if name in body else None


def need_texts(body: Json, name: str) -> list[str]:
    """An array of texts."""
    value: Any = body.get(name)
    if type(value) is not list or any(type(each) is not str for each in cast("list[object]", value)):
        raise invalid(name)
    return cast("list[str]", value)


def find_texts(body: Json, name: str) -> list[str] | None:
    """An array of texts; None where it was not given, or null."""
    return None if body.get(name) is None else need_texts(body, name)


def need_whole(body: Json, name: str) -> int:
    """A number, cut off to a whole one; text of one too."""
    value = body.get(name)
    try:
        if type(value) in (int, float, str) and math.isfinite(number := float(cast(Any, value))):
            return value if type(value) is int else int(number)
    except (ValueError, OverflowError):
        pass
    raise invalid(name)


def find_whole(body: Json, name: str) -> int | None:
    """The same, or None where it was not given."""
    return need_whole(body, name) if name in body else None


# Fields of a query


def need_parameter(query: dict[str, str], name: str) -> str:
    """A query's field, which may be empty."""
    if name not in query:
        raise Refusal(400, f"Field name '{name}' is missing in GET request")
    return query[name]


def is_set(query: dict[str, str], name: str) -> bool:
    """A boolean field: anything but true is false, and absence is true."""
    return query.get(name, "true").lower() == "true"


def invalid(name: str) -> Refusal:
    """What is said of a field that is missing or of the wrong type."""
    return Refusal(400, f"Field name '{name}' is invalid in JSON input")
