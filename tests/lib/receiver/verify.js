// A receiver of webhooks as its author would write one: reads requests from stdin, one JSON object per line
// {secret, headers, body}, and writes a line for each: the event's type, or why it was not believed.
"use strict";
const crypto = require("node:crypto");
const readline = require("node:readline");
const { Webhook } = require("standardwebhooks");

// The library knows symmetric signatures alone; of the others it says "No matching signature found".
function verifyEd25519(key, headers, body) {
	const raw = Buffer.from(key.slice("whpk_".length), "base64");
	const jwk = { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") };
	const signed = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
	const given = headers["webhook-signature"].split(" ").filter((s) => s.startsWith("v1a,"));
	const publicKey = crypto.createPublicKey({ key: jwk, format: "jwk" });
	if (!given.some((s) => crypto.verify(null, signed, publicKey, Buffer.from(s.slice(4), "base64"))))
		throw new Error("no signature of this key");
	return JSON.parse(body);
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
	const { secret, headers, body } = JSON.parse(line);
	try {
		const event = secret.startsWith("whpk_")
			? verifyEd25519(secret, headers, body)
			: new Webhook(secret).verify(body, headers);
		console.log(`good ${event.type}`);
	} catch (e) {
		console.log(`bad ${e.message}`);
	}
});
