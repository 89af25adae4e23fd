// The same app with supertokens-node 1.0 and no framework: the app moves the tokens between cookies and the SDK itself.
const http = require("node:http");
const Session = require("supertokens-node-1/session");
const { announce } = require("./announce");

const core = new URL(process.argv[2]);
Session.init([{ hostname: core.hostname, port: Number(core.port) }]);

const COOKIES = ["sAccessToken", "sRefreshToken", "sIdRefreshToken"];

function read(req) {
    const pairs = (req.headers.cookie ?? "").split("; ").map((pair) => pair.split("="));
    return Object.fromEntries(pairs.map(([name, ...value]) => [name, decodeURIComponent(value.join("="))]));
}

function write(res, name, token, { cookiePath = "/", cookieSecure, domain } = token) {
    const parts = [`${name}=${encodeURIComponent(token.token)}`, `Path=${cookiePath}`, "HttpOnly"];
    parts.push(`Expires=${new Date(token.expiry).toUTCString()}`);
    if (domain) parts.push(`Domain=${domain}`);
    if (cookieSecure) parts.push("Secure");
    res.appendHeader("Set-Cookie", parts.join("; "));
}

function attach(res, { accessToken, refreshToken, idRefreshToken, antiCsrfToken }) {
    write(res, "sAccessToken", accessToken);
    write(res, "sRefreshToken", refreshToken);
    write(res, "sIdRefreshToken", idRefreshToken, accessToken);
    res.setHeader("id-refresh-token", `${idRefreshToken.token};${idRefreshToken.expiry}`);
    if (antiCsrfToken !== undefined) res.setHeader("anti-csrf", antiCsrfToken);
}

function clear(res) {
    for (const name of COOKIES) {
        const cookiePath = name === "sRefreshToken" ? "/api/refresh" : "/";
        write(res, name, { token: "", expiry: 0, cookiePath, domain: "localhost" });
    }
    res.setHeader("id-refresh-token", "remove");
}

async function open(req, res, doAntiCsrfCheck) {
    const cookies = read(req);
    const tryRefresh = { errMagic: "the app's own", errType: Session.Error.TRY_REFRESH_TOKEN };
    if (cookies.sAccessToken === undefined) throw tryRefresh;
    const found = await Session.getSession(
        cookies.sAccessToken,
        req.headers["anti-csrf"],
        doAntiCsrfCheck,
        cookies.sIdRefreshToken,
    );
    if (found.accessToken !== undefined) write(res, "sAccessToken", found.accessToken);
    return found.session;
}

const routes = {
    "POST /login": async (req, res) => {
        const user = req.url.split("/")[2];
        const created = await Session.createNewSession(user, { plan: "basic" }, { visits: 0 });
        attach(res, created);
        return { user: created.session.userId };
    },
    "GET /me": async (req, res) => {
        const session = await open(req, res, false);
        return { user: session.userId, payload: session.userDataInJWT };
    },
    "POST /visit": async (req, res) => {
        const { handle } = await open(req, res, true);
        const data = await Session.getSessionData(handle);
        await Session.updateSessionData(handle, { visits: data.visits + 1 });
        return Session.getSessionData(handle);
    },
    "POST /api": async (req, res) => {
        const token = read(req).sRefreshToken;
        if (token === undefined) throw { errType: Session.Error.UNAUTHORISED };
        const refreshed = await Session.refreshSession(token);
        attach(res, refreshed);
        return { user: refreshed.session.userId };
    },
    "POST /logout": async (req, res) => {
        const { handle } = await open(req, res, true);
        if (await Session.revokeSessionUsingSessionHandle(handle)) clear(res);
        return {};
    },
};

async function explain(error, res) {
    const { TRY_REFRESH_TOKEN, UNAUTHORISED, TOKEN_THEFT_DETECTED } = Session.Error;
    if (error.errType === TRY_REFRESH_TOKEN) return [440, "try refresh token"];
    if (error.errType !== UNAUTHORISED && error.errType !== TOKEN_THEFT_DETECTED) {
        return [500, String(error.err?.message ?? error.stack ?? error.err)];
    }
    clear(res);
    if (error.errType === UNAUTHORISED) return [440, "unauthorised"];
    await Session.revokeSessionUsingSessionHandle(error.err.sessionHandle);
    return [440, "token theft detected"];
}

const server = http.createServer(async (req, res) => {
    const route = routes[`${req.method} /${req.url.split("/")[1]}`];
    let [status, body] = [200, undefined];
    try {
        body = await route(req, res);
    } catch (error) {
        const [refused, message] = await explain(error, res);
        [status, body] = [refused, { message }];
    }
    res.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
});

server.listen(0, "127.0.0.1", () => announce(server));
