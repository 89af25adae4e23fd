// The unmodified browser SDK of 2020, for the tests' own page.
import SuperTokens from "supertokens-website";

window.SuperTokens = SuperTokens.default || SuperTokens;
