// The newest supertokens-node, as an app uses it that moves the tokens itself.
const SuperTokens = require("supertokens-node");
const Session = require("supertokens-node/recipe/session");
const { PrimitiveClaim } = require("supertokens-node/recipe/session/claims");
const { converse, Refusal } = require("./conversation");

const { core, api_key: apiKey, use_dynamic_key: useDynamicKey = true } = JSON.parse(process.argv[2]);
const EVERY_LINKED_ACCOUNT = true;

SuperTokens.init({
    framework: "express",
    supertokens: { connectionURI: core, apiKey },
    appInfo: { appName: "stories", apiDomain: "http://localhost:3000", websiteDomain: "http://localhost:3001" },
    recipeList: [Session.init({ antiCsrf: "VIA_TOKEN", useDynamicAccessTokenSigningKey: useDynamicKey })],
    telemetry: false,
});

const role = new PrimitiveClaim({ key: "role", fetchValue: (user) => (user === "grace" ? "admin" : "guest") });

function tell(session) {
    const tokens = session.getAllSessionTokensDangerously();
    return {
        handle: session.getHandle(),
        user: session.getUserId(),
        tenant: session.getTenantId(),
        payload: session.getAccessTokenPayload(),
        access: tokens.accessToken,
        is_new: tokens.accessAndFrontTokenUpdated,
        refresh: tokens.refreshToken,
        anti_csrf: tokens.antiCsrfToken,
    };
}

const open = ({ access, anti_csrf, ...options }) =>
    Session.getSessionWithoutRequestResponse(access, anti_csrf, {
        antiCsrfCheck: options.do_anti_csrf_check,
        checkDatabase: options.check_database,
        overrideGlobalClaimValidators: (validators) =>
            options.required_role ? [...validators, role.validators.hasValue(options.required_role)] : validators,
    });

// Opens the session, does something to it, and tells what has become of it.
async function change(input, how) {
    const session = await open(input);
    await how(session);
    return tell(session);
}

converse(
    {
        create: async ({ user, payload, data, tenant }) =>
            tell(
                await Session.createNewSessionWithoutRequestResponse(
                    tenant,
                    SuperTokens.convertToRecipeUserId(user),
                    payload,
                    data,
                ),
            ),
        verify: async (input) => tell(await open(input)),
        refresh: async ({ refresh, anti_csrf }) =>
            tell(await Session.refreshSessionWithoutRequestResponse(refresh, false, anti_csrf)),
        revoke: ({ handle }) => Session.revokeSession(handle),
        revoke_many: ({ handles }) => Session.revokeMultipleSessions(handles),
        revoke_all: ({ user, tenant }) => Session.revokeAllSessionsForUser(user, EVERY_LINKED_ACCOUNT, tenant),
        handles: ({ user, tenant }) => Session.getAllSessionHandlesForUser(user, EVERY_LINKED_ACCOUNT, tenant),
        information: async ({ handle }) => {
            const found = await Session.getSessionInformation(handle);
            return (
                found && {
                    user: found.userId,
                    tenant: found.tenantId,
                    payload: found.customClaimsInAccessTokenPayload,
                    data: found.sessionDataInDatabase,
                    created_at: found.timeCreated,
                    expires_at: found.expiry,
                }
            );
        },
        set_data: ({ handle, data }) => Session.updateSessionDataInDatabase(handle, data),
        merge_payload: ({ handle, update }) => Session.mergeIntoAccessTokenPayload(handle, update),
        merge_payload_now: (input) => change(input, (session) => session.mergeIntoAccessTokenPayload(input.update)),
        fetch_role: (input) => change(input, (session) => session.fetchAndSetClaim(role)),
        set_role: (input) => change(input, (session) => session.setClaimValue(role, input.role_value)),
        remove_role: (input) => change(input, (session) => session.removeClaim(role)),
        set_role_of: ({ handle, role_value }) => Session.setClaimValue(handle, role, role_value),
        role_of: async ({ handle }) => (await Session.getClaimValue(handle, role)).value,
        invalid_claims_of: async ({ handle, required_role }) =>
            (await Session.validateClaimsForSessionHandle(handle, () => [role.validators.hasValue(required_role)]))
                .invalidClaims,
        create_jwt: async ({ payload, is_static }) => (await Session.createJWT(payload, 3600, is_static)).jwt,
        jwks: async () => (await Session.getJWKS()).keys,
    },
    (error) => {
        if (!SuperTokens.Error.isErrorFromSuperTokens(error)) return undefined;
        const evidence = error.payload ?? {};
        return new Refusal(
            error.type,
            Array.isArray(evidence) ? { claims: evidence } : { handle: evidence.sessionHandle, user: evidence.userId },
        );
    },
);
