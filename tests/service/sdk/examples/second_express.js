// The app of the documentation of supertokens-node 2: its own middleware refreshes, verifies and explains.
const express = require("express");
const SuperTokens = require("supertokens-node-2");
const { announce } = require("./announce");

const app = express();
app.use(SuperTokens.init({ hosts: process.argv[2] }));
app.use(express.json());

app.post("/login/:user", async (req, res) => {
    const session = await SuperTokens.createNewSession(res, req.params.user, { plan: "basic" }, { visits: 0 });
    res.json({ user: session.getUserId() });
});

app.get("/me", SuperTokens.middleware(), (req, res) => {
    res.json({ user: req.session.getUserId(), payload: req.session.getJWTPayload() });
});

app.post("/visit", SuperTokens.middleware(), async (req, res) => {
    const data = await req.session.getSessionData();
    await req.session.updateSessionData({ visits: data.visits + 1 });
    res.json(await req.session.getSessionData());
});

app.post("/upgrade", SuperTokens.middleware(), async (req, res) => {
    await req.session.updateJWTPayload({ plan: "pro" });
    res.json({ payload: req.session.getJWTPayload() });
});

app.post("/logout", SuperTokens.middleware(), async (req, res) => {
    await req.session.revokeSession();
    res.json({});
});

app.use(SuperTokens.errorHandler());
app.use((error, req, res, next) => res.status(500).json({ message: String(error.message ?? error) }));

const server = app.listen(0, "127.0.0.1", () => announce(server));
