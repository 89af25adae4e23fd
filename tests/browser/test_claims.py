"""Claims, read by the real browser SDK's own validators."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from playwright.sync_api import BrowserContext, Page

from tallystick import PrimitiveArrayClaim, PrimitiveClaim
from tests.browser.site import Site

PLAN = PrimitiveClaim("plan", lambda user, _tenant, _payload: "pro" if user == "ada" else "free")
ROLES = PrimitiveArrayClaim("roles", lambda _user, _tenant, _payload: ["reader", "writer"])


def validate(page: Page, conditions: str) -> Any:
    """What the SDK's own validators say of the session; none of them may want its claim refreshed."""
    return page.evaluate(
        """async conditions => {
            const refresh = () => { throw new Error("a claim was missing or too old"); };
            const plan = new claims.PrimitiveClaim({ id: "plan", refresh });
            const roles = new claims.PrimitiveArrayClaim({ id: "roles", refresh });
            const validators = new Function("plan", "roles", `return [${conditions}]`)(plan, roles);
            return await SuperTokens.validateClaims(() => validators);
        }""",
        conditions,
    )


def test_the_sdk_s_validators_read_our_claims_and_a_403_tells_the_page_which_have_failed(
    make_site: Callable[..., Site], device: BrowserContext
):
    validators = [ROLES.validators.includes("reader"), PLAN.validators.has_value("pro")]
    site = make_site(access_token_validity=timedelta(minutes=5), claim_validators=validators)
    page = site.open(device)
    site.sign_in(page, "bob")
    refused = site.get(page)
    reason = {"message": "wrong value", "expectedValue": "pro", "actualValue": "free"}
    errors = [{"id": "plan", "reason": reason}]
    assert (refused["status"], refused["body"]) == (403, {"message": "invalid claim", "claimValidationErrors": errors})
    assert "API_INVALID_CLAIM" in page.evaluate("events")
    assert validate(page, "plan.validators.hasValue('pro', 60)") == errors, "the server's words are the SDK's"
    assert (
        validate(page, "plan.validators.hasValue('free', 60), roles.validators.includesAll(['writer', 'reader'])") == []
    )
    assert validate(page, "roles.validators.excludes('reader')")[0]["reason"] == {
        "message": "wrong value",
        "expectedToNotInclude": "reader",
        "actualValue": ["reader", "writer"],
    }
    site.sign_in(page, "ada")
    assert site.get(page)["status"] == 200
    assert validate(page, "plan.validators.hasValue('pro', 60)") == []
