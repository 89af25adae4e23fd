"""The newest supertokens-python, as an app uses it that moves the tokens itself.

Each line in is a call, each line out its answer, matched by id; several at a time. It speaks as newest.js does.
"""

import asyncio
import json
import sys
import traceback
from typing import Any

from supertokens_python import InputAppInfo, SupertokensConfig, init
from supertokens_python.recipe import session as recipe
from supertokens_python.recipe.session import SessionContainer
from supertokens_python.recipe.session import asyncio as session
from supertokens_python.recipe.session.claims import PrimitiveClaim
from supertokens_python.recipe.session.exceptions import (
    InvalidClaimsError,
    TokenTheftError,
    TryRefreshTokenError,
    UnauthorisedError,
)
from supertokens_python.recipe.session.interfaces import SessionInformationResult
from supertokens_python.types import RecipeUserId

Call = dict[str, Any]


def start(core: str, *, api_key: str | None = None, use_dynamic_key: bool = True) -> None:
    init(
        InputAppInfo(app_name="stories", api_domain="http://localhost:3000", website_domain="http://localhost:3001"),
        framework="fastapi",
        supertokens_config=SupertokensConfig(connection_uri=core, api_key=api_key),
        recipe_list=[recipe.init(anti_csrf="VIA_TOKEN", use_dynamic_access_token_signing_key=use_dynamic_key)],
        telemetry=False,
    )


role = PrimitiveClaim("role", lambda user, *_: "admin" if user == "grace" else "guest")


def tell(opened: SessionContainer) -> Call:
    tokens = opened.get_all_session_tokens_dangerously()
    return {
        "handle": opened.get_handle(),
        "user": opened.get_user_id(),
        "tenant": opened.get_tenant_id(),
        "payload": opened.get_access_token_payload(),
        "access": tokens["accessToken"],
        "is_new": tokens["accessAndFrontTokenUpdated"],
        "refresh": tokens["refreshToken"],
        "anti_csrf": tokens["antiCsrfToken"],
    }


async def open_session(
    access: str,
    anti_csrf: str | None = None,
    do_anti_csrf_check: bool | None = None,
    check_database: bool | None = None,
    required_role: str | None = None,
    **_: Any,
) -> SessionContainer:
    wanted = [role.validators.has_value(required_role)] if required_role else []
    found = await session.get_session_without_request_response(
        access,
        anti_csrf,
        anti_csrf_check=do_anti_csrf_check,
        check_database=check_database,
        override_global_claim_validators=lambda validators, *_: [*validators, *wanted],
    )
    assert found is not None
    return found


class Calls:
    """One method for each call; its parameters are the call's input."""

    async def create(self, user: str, payload: Call, data: Call, tenant: str) -> Call:
        return tell(
            await session.create_new_session_without_request_response(tenant, RecipeUserId(user), payload, data)
        )

    async def verify(self, **given: Any) -> Call:
        return tell(await open_session(**given))

    async def refresh(self, refresh: str, anti_csrf: str | None = None) -> Call:
        return tell(await session.refresh_session_without_request_response(refresh, False, anti_csrf))

    async def revoke(self, handle: str) -> bool:
        return await session.revoke_session(handle)

    async def revoke_many(self, handles: list[str]) -> list[str]:
        return await session.revoke_multiple_sessions(handles)

    async def revoke_all(self, user: str, tenant: str | None = None) -> list[str]:
        return await session.revoke_all_sessions_for_user(user, tenant_id=tenant)

    async def handles(self, user: str, tenant: str | None = None) -> list[str]:
        return await session.get_all_session_handles_for_user(user, tenant_id=tenant)

    async def information(self, handle: str) -> Call | None:
        found: SessionInformationResult | None = await session.get_session_information(handle)
        return found and {
            "user": found.user_id,
            "tenant": found.tenant_id,
            "payload": found.custom_claims_in_access_token_payload,
            "data": found.session_data_in_database,
            "created_at": found.time_created,
            "expires_at": found.expiry,
        }

    async def set_data(self, handle: str, data: Call) -> bool:
        return await session.update_session_data_in_database(handle, data)

    async def merge_payload(self, handle: str, update: Call) -> bool:
        return await session.merge_into_access_token_payload(handle, update)

    async def merge_payload_now(self, update: Call, **given: Any) -> Call:
        opened = await open_session(**given)
        await opened.merge_into_access_token_payload(update)
        return tell(opened)

    async def fetch_role(self, **given: Any) -> Call:
        opened = await open_session(**given)
        await opened.fetch_and_set_claim(role)
        return tell(opened)

    async def set_role(self, role_value: str, **given: Any) -> Call:
        opened = await open_session(**given)
        await opened.set_claim_value(role, role_value)
        return tell(opened)

    async def remove_role(self, **given: Any) -> Call:
        opened = await open_session(**given)
        await opened.remove_claim(role)
        return tell(opened)

    async def set_role_of(self, handle: str, role_value: str) -> bool:
        return await session.set_claim_value(handle, role, role_value)

    async def role_of(self, handle: str) -> str | None:
        return (await session.get_claim_value(handle, role)).value

    async def invalid_claims_of(self, handle: str, required_role: str) -> list[Call]:
        checked = await session.validate_claims_for_session_handle(
            handle, lambda *_: [role.validators.has_value(required_role)]
        )
        return [claim.to_json() for claim in checked.invalid_claims]

    async def create_jwt(self, payload: Call, is_static: bool) -> str:
        return (await session.create_jwt(payload, 3600, use_static_signing_key=is_static)).jwt

    async def jwks(self) -> list[Call]:
        return [vars(key) for key in (await session.get_jwks()).keys]


def describe(error: Exception) -> Call:
    """What the caller is to learn: a refusal of the SDK by its name, or else the traceback."""
    match error:
        case TokenTheftError():
            return {"refused": "TOKEN_THEFT_DETECTED", "handle": error.session_handle, "user": error.user_id}
        case InvalidClaimsError():
            return {"refused": "INVALID_CLAIMS", "claims": [claim.to_json() for claim in error.payload]}
        case TryRefreshTokenError():
            return {"refused": "TRY_REFRESH_TOKEN"}
        case UnauthorisedError():
            return {"refused": "UNAUTHORISED"}
    return {"error": "".join(traceback.format_exception(error))}


async def answer(calls: Calls, line: bytes) -> None:
    asked = json.loads(line)
    try:
        answered = {"result": await getattr(calls, asked["call"])(**asked["input"])}
    except Exception as error:
        answered = describe(error)
    sys.stdout.write(json.dumps({"id": asked["id"], **answered}) + "\n")
    sys.stdout.flush()


async def converse() -> None:
    reader = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    calls = Calls()
    async with asyncio.TaskGroup() as group:
        while line := await reader.readline():
            group.create_task(answer(calls, line))


if __name__ == "__main__":
    start(**json.loads(sys.argv[1]))
    asyncio.run(converse())
