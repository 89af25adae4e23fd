// The unmodified browser SDK, for the tests' own page.
import SuperTokens, { PrimitiveArrayClaim, PrimitiveClaim } from "supertokens-website";

window.SuperTokens = SuperTokens;
window.claims = { PrimitiveArrayClaim, PrimitiveClaim };
