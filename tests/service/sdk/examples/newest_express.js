// An API with today's supertokens-node, for a page of another origin.
const cors = require("cors");
const express = require("express");
const SuperTokens = require("supertokens-node");
const Session = require("supertokens-node/recipe/session");
const { verifySession } = require("supertokens-node/recipe/session/framework/express");
const { errorHandler, middleware } = require("supertokens-node/framework/express");
const { announce } = require("./announce");

const [core, website, transport] = process.argv.slice(2);
const app = express();
const server = app.listen(0, "127.0.0.1", () => {
    SuperTokens.init({
        framework: "express",
        supertokens: { connectionURI: core },
        appInfo: {
            appName: "a website",
            apiDomain: `http://localhost:${server.address().port}`,
            websiteDomain: website,
        },
        recipeList: [Session.init({ antiCsrf: "VIA_TOKEN", getTokenTransferMethod: () => transport })],
        telemetry: false,
    });
    addRoutes();
    announce(server);
});

function addRoutes() {
    app.use(
        cors({
            origin: website,
            allowedHeaders: ["content-type", ...SuperTokens.getAllCORSHeaders()],
            credentials: true,
        }),
    );
    app.use((req, res, next) => {
        // An answer that the browser has kept would bring its tokens back; see docs/how-to/use-it-from-other-languages.md.
        res.set("Cache-Control", "no-store");
        next();
    });
    app.use(middleware());

    app.post("/sign-in/:user", async (req, res) => {
        const user = SuperTokens.convertToRecipeUserId(req.params.user);
        const session = await Session.createNewSession(req, res, "public", user, { name: "łukasz 馬" });
        res.json({ handle: session.getHandle() });
    });

    for (const [method, path] of [
        ["get", "/me"],
        ["post", "/act"],
    ]) {
        app[method](path, verifySession(), (req, res) => {
            res.json({ user: req.session.getUserId(), handle: req.session.getHandle() });
        });
    }

    app.get("/checked", verifySession({ checkDatabase: true }), (req, res) => {
        res.json({ user: req.session.getUserId() });
    });

    app.post("/upgrade", verifySession(), async (req, res) => {
        await req.session.mergeIntoAccessTokenPayload({ plan: "pro" });
        res.json({ plan: req.session.getAccessTokenPayload().plan });
    });

    app.post("/revoke-everywhere/:user", async (req, res) => {
        res.json({ handles: await Session.revokeAllSessionsForUser(req.params.user) });
    });

    app.use(errorHandler());
}
