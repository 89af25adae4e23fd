// The SDKs of 2020, as an app uses them that moves the tokens itself. From 2.0 there is one function for each need, and
// nothing without Express but what the package's own Express functions stand on.
const { converse, Refusal } = require("./conversation");

const { core, api_key: apiKey, version } = JSON.parse(process.argv[2]);
const isFirst = version === 1;
const Session = isFirst ? require("supertokens-node-1/session") : require("supertokens-node-2/lib/build/session");
const { Error: AuthError } = Session;

if (isFirst) {
    Session.init(core.split(";").map((url) => ({ hostname: new URL(url).hostname, port: Number(new URL(url).port) })));
} else {
    Session.init({ hosts: core, apiKey });
}

const tell = ({ session, accessToken, refreshToken, idRefreshToken, antiCsrfToken }) => ({
    handle: session.handle,
    user: session.userId,
    payload: session.userDataInJWT,
    access: accessToken?.token,
    is_new: accessToken !== undefined,
    refresh: refreshToken?.token,
    id_refresh: idRefreshToken?.token,
    anti_csrf: antiCsrfToken,
    // What the SDK makes cookies of; the core decides it.
    cookies: { access: accessToken, refresh: refreshToken, id_refresh: idRefreshToken },
});

const NAMES = Object.fromEntries(
    ["UNAUTHORISED", "TRY_REFRESH_TOKEN", "TOKEN_THEFT_DETECTED"].map((name) => [AuthError[name], name]),
);

converse(
    {
        create: async ({ user, payload, data }) => tell(await Session.createNewSession(user, payload, data)),
        verify: async ({ access, anti_csrf, do_anti_csrf_check = true, id_refresh }) =>
            tell(await Session.getSession(access, anti_csrf, do_anti_csrf_check, id_refresh)),
        refresh: async ({ refresh, anti_csrf }) => tell(await Session.refreshSession(refresh, anti_csrf)),
        revoke: ({ handle }) =>
            isFirst ? Session.revokeSessionUsingSessionHandle(handle) : Session.revokeSession(handle),
        revoke_many: ({ handles }) => Session.revokeMultipleSessions(handles),
        revoke_all: ({ user }) => Session.revokeAllSessionsForUser(user),
        handles: ({ user }) => Session.getAllSessionHandlesForUser(user),
        data: ({ handle }) => Session.getSessionData(handle),
        set_data: ({ handle, data }) => Session.updateSessionData(handle, data),
        payload: ({ handle }) => Session.getJWTPayload(handle),
        set_payload: ({ handle, payload }) => Session.updateJWTPayload(handle, payload),
    },
    (error) => {
        if (!AuthError.isErrorFromAuth(error)) return undefined;
        const name = NAMES[error.errType];
        if (name === undefined) return { error: String(error.err?.message ?? error.err) };
        return new Refusal(name, { handle: error.err.sessionHandle, user: error.err.userId });
    },
);
