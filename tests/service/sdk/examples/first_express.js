// The app of the documentation of supertokens-node 1.0, with Express.
const express = require("express");
const SuperTokens = require("supertokens-node-1");
const { announce } = require("./announce");

const core = new URL(process.argv[2]);
SuperTokens.init([{ hostname: core.hostname, port: Number(core.port) }]);

const app = express();
app.use(express.json());

app.post("/login/:user", async (req, res) => {
    const session = await SuperTokens.createNewSession(res, req.params.user, { plan: "basic" }, { visits: 0 });
    res.json({ user: session.getUserId() });
});

app.get("/me", async (req, res) => {
    const session = await SuperTokens.getSession(req, res, false);
    res.json({ user: session.getUserId(), payload: session.getJWTPayload() });
});

app.post("/visit", async (req, res) => {
    const session = await SuperTokens.getSession(req, res, true);
    const data = await session.getSessionData();
    await session.updateSessionData({ visits: data.visits + 1 });
    res.json(await session.getSessionData());
});

app.post("/api/refresh", async (req, res) => {
    const session = await SuperTokens.refreshSession(req, res);
    res.json({ user: session.getUserId() });
});

app.post("/logout", async (req, res) => {
    const session = await SuperTokens.getSession(req, res, true);
    await session.revokeSession();
    res.json({});
});

app.options("/me", (req, res) => {
    SuperTokens.setRelevantHeadersForOptionsAPI(res);
    res.end();
});

app.use(async (error, req, res, next) => {
    if (!SuperTokens.Error.isErrorFromAuth(error)) return next(error);
    if (error.errType === SuperTokens.Error.GENERAL_ERROR) return res.status(500).json({ message: "core" });
    if (error.errType === SuperTokens.Error.TOKEN_THEFT_DETECTED) {
        await SuperTokens.revokeSessionUsingSessionHandle(error.err.sessionHandle);
        return res.status(440).json({ message: "token theft detected" });
    }
    const isOver = error.errType === SuperTokens.Error.UNAUTHORISED;
    return res.status(440).json({ message: isOver ? "unauthorised" : "try refresh token" });
});

const server = app.listen(0, "127.0.0.1", () => announce(server));
