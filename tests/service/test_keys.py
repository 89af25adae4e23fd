"""Keys and plain JWTs: what is published, when, and that several instances agree at once (spec/cdi.md 2.11, 3.3)."""

from datetime import timedelta

import jwt
import pytest

from tests.service.cores import Core, claims_of, header_of

HOUR = 3_600_000


def kid(answer):
    return header_of(answer["accessToken"]["token"])["kid"]


async def kids(core):
    return [key["kid"] for key in (await core.get("/.well-known/jwks.json", cdi=None))["keys"]]


async def test_a_new_app_publishes_one_key_that_rotates_and_one_that_does_not(core):
    published = await core.ask("GET", "/.well-known/jwks.json", cdi=None)
    assert published.json().keys() == {"keys"}
    for key, prefix in zip(published.json()["keys"], ("d-", "s-"), strict=True):
        assert key.keys() == {"kty", "kid", "n", "e", "alg", "use"}
        assert (key["kty"], key["alg"], key["use"], key["e"]) == ("RSA", "RS256", "sig", "AQAB")
        assert key["kid"].startswith(prefix)
    assert published.headers["cache-control"] == f"max-age={168 * 3600 - 60}, must-revalidate"
    core.clock.advance(timedelta(hours=1))
    later = await core.ask("GET", "/.well-known/jwks.json", cdi=None)
    assert later.headers["cache-control"] == f"max-age={167 * 3600 - 60}, must-revalidate"


async def test_the_older_endpoint_has_the_same_keys_with_a_status(core):
    answer = await core.ask("GET", "/recipe/jwt/jwks")
    assert answer.json() == {"status": "OK", **(await core.get("/.well-known/jwks.json", cdi=None))}
    assert "cache-control" not in answer.headers


async def test_any_jwt_library_verifies_our_tokens_by_the_published_keys(core):
    for cdi, static in (("2.21", False), ("3.0", True), ("5.4", False), ("5.4", True)):
        created = await core.create(cdi, useDynamicSigningKey=not static)
        keys = jwt.PyJWKSet.from_dict(await core.get("/.well-known/jwks.json", cdi=None))
        token = created["accessToken"]["token"]
        options = {"verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, keys[kid(created)], algorithms=["RS256"], options=options)
        assert claims["sub"] == "u1"


async def test_a_key_is_published_before_it_signs_and_after_it_did(core):
    first = kid(await core.create())
    core.clock.advance(timedelta(hours=168, seconds=-60, milliseconds=1))
    newest, former, _ = await kids(core)
    assert (former, kid(await core.create())) == (first, first)
    core.clock.advance(timedelta(seconds=60))
    assert kid(await core.create()) == newest
    core.clock.advance(timedelta(hours=2))
    assert first not in await kids(core)


async def test_a_static_key_is_never_replaced(core):
    first = kid(await core.create(useDynamicSigningKey=False))
    core.clock.advance(timedelta(days=3650))
    assert kid(await core.create(useDynamicSigningKey=False)) == first
    assert first in await kids(core)
    assert await core.app.purge() >= 0
    assert first in await kids(core)


async def test_short_intervals_have_short_overlaps(core):
    short = Core(access_token_dynamic_signing_key_update_interval=0.0014, access_token_validity=1)
    first = kid(await short.create())
    short.clock.advance(timedelta(seconds=6))
    assert kid(await short.create()) != first
    assert short.made == 2


async def test_a_static_key_outlives_the_secret_that_it_was_made_under():
    former, newest = "the-former-secret-that-is-long-enough", "the-newest-secret-that-is-long-enough"
    before = Core(secret=former)
    static = kid(await before.create(useDynamicSigningKey=False))
    during = Core(store=before.store, clock=before.clock, seed=2, secret=[newest, former])
    for _ in range(2):
        await during.app.purge()
    assert [row.kid for row in await during.store.load_keys("public")].count(static) == 2
    assert (await kids(during)).count(static) == 1
    during.clock.advance(timedelta(days=101))
    after = Core(store=before.store, clock=before.clock, seed=3, secret=newest)
    assert kid(await after.create(useDynamicSigningKey=False)) == static
    assert (await kids(after)).count(static) == 1


@pytest.mark.parametrize("static", [False, True])
async def test_a_key_of_one_instance_is_good_at_another_at_once(core, static):
    other = Core(store=core.store, clock=core.clock, seed=2)
    assert (await other.create())["status"] == "OK"
    for _ in range(3):
        core.clock.advance(timedelta(hours=168))
        for cdi in ("2.20", "2.21", "3.0", "5.4", "5.6"):
            created = await core.create(cdi, useDynamicSigningKey=not static)
            assert (await other.verify(created["accessToken"]["token"], cdi))["status"] == "OK"


async def test_two_instances_that_need_a_key_at_once_make_do_with_one(core):
    other = Core(store=core.store, clock=core.clock, seed=2)
    created = [await instance.create(useDynamicSigningKey=False) for instance in (core, other)]
    assert kid(created[0]) == kid(created[1])


# Plain JWTs

ASKED = {"algorithm": "rs256", "jwksDomain": "https://api", "payload": {"a": None}, "validity": 3600}


async def test_a_jwt_has_the_callers_claims_and_three_of_ours_and_no_version(core):
    token = (await core.post("/recipe/jwt", ASKED))["jwt"]
    now = core.clock.now // 1000
    assert claims_of(token) == {"iss": "https://api", "iat": now, "exp": now + 3600, "a": None}
    assert header_of(token).keys() == {"alg", "kid", "typ"}
    assert header_of(token)["kid"].startswith("s-")


async def test_a_jwt_may_be_signed_with_a_key_that_rotates_from_2_21_on(core):
    for cdi, prefix in (("2.20", "s-"), ("2.21", "d-"), ("5.4", "d-")):
        answer = await core.post("/recipe/jwt", {**ASKED, "useStaticSigningKey": False}, cdi=cdi)
        assert header_of(answer["jwt"])["kid"].startswith(prefix)


async def test_claims_of_the_caller_win_and_validities_may_be_absurd(core):
    payload = {"iss": "mine", "iat": 1, "exp": 2}
    assert claims_of((await core.post("/recipe/jwt", {**ASKED, "payload": payload}))["jwt"]) == payload
    far = await core.post("/recipe/jwt", {**ASKED, "validity": core.clock.now})
    assert claims_of(far["jwt"])["exp"] > core.clock.now


async def test_another_algorithm_has_an_answer_of_its_own_and_a_validity_must_be_positive(core):
    other = await core.post("/recipe/jwt", {**ASKED, "algorithm": "HS256"})
    assert other == {"status": "UNSUPPORTED_ALGORITHM_ERROR"}
    for wrong in (0, -1, 10**18):
        assert (await core.ask("POST", "/recipe/jwt", {**ASKED, "validity": wrong})).status_code == 400


async def test_a_jwt_with_all_claims_of_an_access_token_is_one(core):
    created = await core.create()
    claims = claims_of(created["accessToken"]["token"])
    token = (await core.post("/recipe/jwt", {**ASKED, "payload": {**claims, "more": 1}}))["jwt"]
    found = await core.verify(token, checkDatabase=False)
    assert found["session"]["handle"] == created["session"]["handle"]
    assert found["session"]["userDataInJWT"]["more"] == 1
    for name in claims:
        less = {key: value for key, value in claims.items() if key not in (name, "exp", "iat")}
        partial = (await core.post("/recipe/jwt", {**ASKED, "payload": less}))["jwt"]
        if name not in ("exp", "iat"):
            assert (await core.verify(partial))["status"] == "TRY_REFRESH_TOKEN", name
