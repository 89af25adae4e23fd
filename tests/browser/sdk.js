// The unmodified browser SDK, for the tests' own page.
import SuperTokens from "supertokens-website";

window.SuperTokens = SuperTokens;
