// Inflates standard input with Node's zlib and prints the length and the SHA-256 of what comes out.
"use strict";
const { createHash } = require("node:crypto");
const { createGunzip } = require("node:zlib");

const digest = createHash("sha256");
let bytes = 0;
const gunzip = createGunzip();
gunzip.on("data", (chunk) => {
  bytes += chunk.length;
  digest.update(chunk);
});
gunzip.on("end", () => console.log(`${bytes} ${digest.digest("hex")}`));
gunzip.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
process.stdin.pipe(gunzip);
