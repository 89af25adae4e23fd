// Tells whoever has started the app where it listens.
exports.announce = (server) => process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
