// A program that speaks for one SDK: each line in is a call, each line out its answer, matched by id; several at a time.
const readline = require("node:readline");

// What the caller is to learn of an error: a refusal of the SDK by its name, or else the error's text.
class Refusal {
    constructor(name, evidence = {}) {
        Object.assign(this, { refused: name, ...evidence });
    }
}

function converse(calls, describe) {
    readline.createInterface({ input: process.stdin }).on("line", async (line) => {
        const { id, call, input } = JSON.parse(line);
        const answer = await calls[call](input).then(
            (result) => ({ result: result === undefined ? null : result }),
            (error) => describe(error) ?? { error: error instanceof Error ? (error.stack ?? error.message) : String(error) },
        );
        process.stdout.write(`${JSON.stringify({ id, ...answer })}\n`);
    });
}

module.exports = { converse, Refusal };
