// Prints the median time of one password hash in seconds, and the hash. Arguments: the password, memory in KiB, passes, the number of hashes.
const { hashRawSync, Algorithm, Version } = require("@node-rs/argon2");

const [password, memoryCost, timeCost, count] = process.argv.slice(1);
const options = {
    algorithm: Algorithm.Argon2id,
    version: Version.V0x13,
    memoryCost: Number(memoryCost),
    timeCost: Number(timeCost),
    parallelism: 1,
    outputLen: 32,
    salt: Buffer.from("sixteen bytes..."),
};
const times = [];
let hash;
for (let at = 0; at < Number(count); at++) {
    const start = process.hrtime.bigint();
    hash = hashRawSync(password, options);
    times.push(Number(process.hrtime.bigint() - start) / 1e9);
}
times.sort((a, b) => a - b);
console.log(`${times[Math.floor(times.length / 2)]} ${hash.toString("hex")}`);
