"""Starlette and FastAPI: bare, with Tallystick, and with what else there is for them.

One route asks for the session and says who is signed in, the other asks for nothing. Each builder is documented by what
RESULTS.md says of its set-up; those with Tallystick take where its sessions are.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from calling import PATH, PLAIN, AsgiCaller, Headers
from subject import PAYLOAD, SECRET, Subject, bearer, cookie, sign_in_nobody

from tallystick import AsyncSessions, Sessions


def starlette_bare() -> Subject:
    """The framework alone."""
    from starlette.responses import JSONResponse  # noqa: PLC0415

    async def me(_request: Any) -> Any:
        return JSONResponse({"user": "nobody"})

    return Subject(AsgiCaller(_starlette(me)), sign_in_nobody)


def starlette_tallystick(url: Any = "memory://") -> Subject:
    """`SessionMiddleware` and `await get_session(request)`; the access token in its cookie."""
    from starlette.responses import JSONResponse  # noqa: PLC0415

    from tallystick.integrations.starlette import SessionMiddleware, get_session  # noqa: PLC0415

    async def me(request: Any) -> Any:
        session = await get_session(request)
        return JSONResponse({"user": session.get_user_id()})

    sessions = _open_async(url)
    return Subject(AsgiCaller(SessionMiddleware(_starlette(me), sessions)), _sign_in_to(sessions))


def starlette_sessions() -> Subject:
    """`SessionMiddleware(secret_key=...)`: the session whole in a signed cookie. No revocation, no rotation."""
    import itsdangerous  # noqa: PLC0415
    from starlette.middleware.sessions import SessionMiddleware  # noqa: PLC0415
    from starlette.responses import JSONResponse  # noqa: PLC0415

    async def me(request: Any) -> Any:
        return JSONResponse({"user": request.session["user"]})

    app = _starlette(me)

    def sign_in(count: int) -> Sequence[Headers]:
        signer = itsdangerous.TimestampSigner(SECRET)
        content = ({**PAYLOAD, "user": f"user-{number:08}"} for number in range(count))
        signed = (signer.sign(base64.b64encode(json.dumps(one).encode())).decode() for one in content)
        return [cookie("session", text) for text in signed]

    return Subject(AsgiCaller(SessionMiddleware(app, secret_key=SECRET)), sign_in)


def fastapi_bare() -> Subject:
    """The framework alone."""
    return Subject(AsgiCaller(_fastapi(None)), sign_in_nobody)


def fastapi_dependency() -> Subject:
    """The framework alone, with a dependency that does nothing, and a cookie as long as an access token: FastAPI reads
    the cookies of a request wherever there is a dependency."""

    async def nothing() -> str:
        return "nobody"

    return Subject(AsgiCaller(_fastapi(nothing)), lambda count: [cookie("sAccessToken", "x" * 970)] * count)


def fastapi_tallystick(url: Any = "memory://") -> Subject:
    """`SessionMiddleware` and `Depends(verify_session())`; the access token in its cookie."""
    from tallystick.integrations.fastapi import SessionMiddleware, verify_session  # noqa: PLC0415

    app, sessions = _fastapi(verify_session(), lambda session: session.get_user_id()), _open_async(url)
    return Subject(AsgiCaller(SessionMiddleware(app, sessions)), _sign_in_to(sessions))


def fastapi_supertokens() -> Subject:
    """`get_middleware()` and `Depends(verify_session())`; the access token in its cookie. Its keys are in its cache, as
    in the verification above."""
    import jwt  # noqa: PLC0415
    from supertokens_python import InputAppInfo, SupertokensConfig, init  # noqa: PLC0415
    from supertokens_python.framework.fastapi import get_middleware  # noqa: PLC0415
    from supertokens_python.recipe import session as recipe  # noqa: PLC0415
    from supertokens_python.recipe.session import jwks  # noqa: PLC0415
    from supertokens_python.recipe.session.framework.fastapi import verify_session  # noqa: PLC0415
    from supertokens_python.recipe.session.recipe import SessionRecipe  # noqa: PLC0415

    init(
        app_info=InputAppInfo(app_name="bench", api_domain="http://localhost", website_domain="http://localhost"),
        supertokens_config=SupertokensConfig(connection_uri="http://localhost:1"),  # where nobody listens
        framework="fastapi",
        mode="asgi",
        recipe_list=[recipe.init(anti_csrf="NONE")],
        telemetry=False,
    )
    sessions = Sessions("memory://", secret=SECRET).open()
    interval = SessionRecipe.get_instance().config.jwks_refresh_interval_sec
    jwks.cached_keys = jwks.CachedKeys(jwt.PyJWKSet.from_dict(sessions.get_jwks()).keys, interval)
    app = _fastapi(verify_session(), lambda session: session.get_user_id())
    app.add_middleware(get_middleware())

    def sign_in(count: int) -> Sequence[Headers]:
        created = (sessions.create_new_session(f"user-{number:08}", PAYLOAD) for number in range(count))
        return [cookie("sAccessToken", one.access_token.token) for one in created]

    return Subject(AsgiCaller(app), sign_in)


def fastapi_pyjwt() -> Subject:
    """A dependency of one's own: `HTTPBearer`, `jwt.decode` with RS256 and required claims."""
    import jwt  # noqa: PLC0415

    private, public = _rsa_pair()
    options = {"require": ["exp", "iat", "sub"]}

    def decode(token: str) -> dict[str, Any]:
        return jwt.decode(token, public, algorithms=["RS256"], options=options)

    def sign_in(count: int) -> Sequence[Headers]:
        return [bearer(jwt.encode(_claims(number), private, "RS256")) for number in range(count)]

    return Subject(AsgiCaller(_fastapi(*_bearer_dependency(decode))), sign_in)


def fastapi_joserfc() -> Subject:
    """A dependency of one's own: `HTTPBearer`, `jwt.decode` with RS256, then `JWTClaimsRegistry.validate`."""
    from joserfc import jwt  # noqa: PLC0415
    from joserfc.jwk import RSAKey  # noqa: PLC0415

    key = RSAKey.generate_key(2048)
    registry = jwt.JWTClaimsRegistry(exp={"essential": True}, iat={"essential": True}, sub={"essential": True})

    def decode(token: str) -> dict[str, Any]:
        decoded = jwt.decode(token, key, algorithms=["RS256"])
        registry.validate(decoded.claims)
        return decoded.claims

    def sign_in(count: int) -> Sequence[Headers]:
        return [bearer(jwt.encode({"alg": "RS256"}, _claims(n), key, algorithms=["RS256"])) for n in range(count)]

    return Subject(AsgiCaller(_fastapi(*_bearer_dependency(decode))), sign_in)


def fastapi_users() -> Subject:
    """`fastapi_users.current_user()` with `CookieTransport` and `JWTStrategy` (HS256, its default). It loads the user
    at each request: here from a dict, where an app has a database."""
    from uuid import UUID  # noqa: PLC0415

    from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin  # noqa: PLC0415
    from fastapi_users.authentication import AuthenticationBackend, CookieTransport, JWTStrategy  # noqa: PLC0415

    users: dict[UUID, Any] = {}

    class Users:
        async def get(self, wanted: UUID) -> Any:
            return users.get(wanted)

    class Manager(UUIDIDMixin, BaseUserManager[Any, UUID]):
        pass

    async def get_manager() -> Any:
        yield Manager(Users())

    def get_strategy() -> Any:
        return JWTStrategy(secret=SECRET, lifetime_seconds=3600)

    backend = AuthenticationBackend("jwt", CookieTransport(cookie_max_age=3600), get_strategy)
    current_user = FastAPIUsers[Any, UUID](get_manager, [backend]).current_user(active=True)

    def sign_in(count: int) -> Sequence[Headers]:
        class User:
            is_active = is_verified = True

            def __init__(self, number: int) -> None:
                self.id = UUID(int=number)

        made = [User(number) for number in range(count)]
        users.update({user.id: user for user in made})
        write = get_strategy().write_token
        return [cookie("fastapiusersauth", asyncio.run(write(user))) for user in made]

    return Subject(AsgiCaller(_fastapi(current_user, lambda user: str(user.id))), sign_in)


SUBJECTS: dict[str, Callable[..., Subject]] = {
    made.__name__: made
    for made in (
        starlette_bare,
        starlette_tallystick,
        starlette_sessions,
        fastapi_bare,
        fastapi_dependency,
        fastapi_tallystick,
        fastapi_supertokens,
        fastapi_users,
        fastapi_pyjwt,
        fastapi_joserfc,
    )
}


def _starlette(me: Callable[[Any], Any]) -> Any:
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.responses import JSONResponse  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def plain(_request: Any) -> JSONResponse:
        return JSONResponse({"user": "nobody"})

    return Starlette(routes=[Route(PATH, me), Route(PLAIN, plain)])


def _fastapi(dependency: Callable[..., Any] | None, user_of: Callable[[Any], str] = str) -> Any:
    from fastapi import Depends, FastAPI  # noqa: PLC0415

    app = FastAPI()

    async def plain() -> dict[str, str]:
        return {"user": "nobody"}

    async def me(found: Any) -> dict[str, str]:
        return {"user": user_of(found)}

    # By hand, as the annotation is not known before.
    me.__annotations__["found"] = Annotated[Any, Depends(dependency)]
    app.get(PLAIN)(plain)
    app.get(PATH)(plain if dependency is None else me)
    return app


def _bearer_dependency(decode: Callable[[str], dict[str, Any]]) -> tuple[Callable[..., Any], Callable[[Any], str]]:
    from fastapi import Depends  # noqa: PLC0415
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer  # noqa: PLC0415

    async def claims_of(credentials: Any) -> dict[str, Any]:
        return decode(credentials.credentials)

    claims_of.__annotations__["credentials"] = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
    return claims_of, lambda claims: claims["sub"]


def _open_async(url: Any) -> AsyncSessions:
    sessions = AsyncSessions(url, secret=SECRET)
    asyncio.run(sessions.open())
    return sessions


def _sign_in_to(sessions: AsyncSessions) -> Callable[[int], Sequence[Headers]]:
    async def sign_in(count: int) -> list[Headers]:
        created = [await sessions.create_new_session(f"user-{number:08}", PAYLOAD) for number in range(count)]
        return [cookie("sAccessToken", one.access_token.token) for one in created]

    return lambda count: asyncio.run(sign_in(count))


def _claims(number: int) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": f"user-{number:08}", "iat": now, "exp": now + 3600, **PAYLOAD}


def _rsa_pair() -> tuple[Any, Any]:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key  # noqa: PLC0415

    private = generate_private_key(65537, 2048)
    return private, private.public_key()
