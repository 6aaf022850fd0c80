// Solves the challenge of a sign-in: finds a number so that the SHA-256 of the challenge, a dot and the number begins with zero bits.

const primes = [];
for (let n = 2; primes.length < 64; n++) {
  if (primes.every((prime) => n % prime)) primes.push(n);
}
// The first 32 bits after the point (FIPS 180-4).
const fraction = (x) => (x % 1) * 2 ** 32;
const CONSTANTS = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));
const START = Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

const words = new Int32Array(64);
const rotated = (x, bits) => (x >>> bits) | (x << (32 - bits));

// Adds one block, the 64 bytes of the view from there, to the state.
function compress(state, view, from) {
  for (let t = 0; t < 16; t++) words[t] = view.getInt32(from + 4 * t);
  for (let t = 16; t < 64; t++) {
    const x = words[t - 15];
    const y = words[t - 2];
    const small = rotated(x, 7) ^ rotated(x, 18) ^ (x >>> 3);
    words[t] = (words[t - 16] + small + words[t - 7] + (rotated(y, 17) ^ rotated(y, 19) ^ (y >>> 10))) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < 64; t++) {
    const one = (h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) + CONSTANTS[t] + words[t]) | 0;
    const two = ((rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + one) | 0;
    d = c;
    c = b;
    b = a;
    a = (one + two) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

// A function that returns the SHA-256 of `start` and a text of at most 40 ASCII characters, as eight words. The next call overwrites them.
export function hasher(start) {
  const bytes = new TextEncoder().encode(start);
  const view = new DataView(bytes.buffer);
  const whole = bytes.length - (bytes.length % 64);
  const middle = START.slice();
  for (let from = 0; from < whole; from += 64) compress(middle, view, from);

  const last = new Uint8Array(128);
  const lastView = new DataView(last.buffer);
  last.set(bytes.subarray(whole));
  const rest = bytes.length - whole;
  const state = new Int32Array(8);
  return (text) => {
    const length = rest + text.length;
    last.fill(0, rest);
    for (let at = 0; at < text.length; at++) last[rest + at] = text.charCodeAt(at);
    last[length] = 0x80;
    const end = length < 56 ? 64 : 128;
    lastView.setUint32(end - 4, (whole + length) * 8);
    state.set(middle);
    for (let from = 0; from < end; from += 64) compress(state, lastView, from);
    return state;
  };
}

// Between two pieces of work the page reacts to its person.
const TRIES = 4096;
const channel = new MessageChannel();
const pause = () =>
  new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  });

// Reports how likely it was to find the number until now, from 0 to 1. `bits` is at most 32.
export async function solve(challenge, bits, report = () => {}) {
  const hash = hasher(`${challenge}.`);
  for (let number = 0; ; ) {
    for (const end = number + TRIES; number < end; number++) {
      if (Math.clz32(hash(String(number))[0]) >= bits) return `${challenge}.${number}`;
    }
    report(1 - Math.exp(-number / 2 ** bits));
    await pause();
  }
}

// A screen reader reads each text, so there are few.
function show(status, text) {
  if (status.textContent !== text) status.textContent = text;
}

async function fill(status, field) {
  let isSent = false;
  const wait = (event) => {
    event.preventDefault();
    isSent = true;
  };
  field.form.addEventListener("submit", wait);
  field.value = await solve(status.dataset.challenge, Number(status.dataset.bits), (likelihood) => {
    const then = isSent ? "It signs you in then." : "You can enter your password meanwhile.";
    const percent = Math.floor(likelihood * 4) * 25;
    show(status, `You can also sign in here. This browser solves a task for it, which takes some seconds: ${percent} %. ${then}`);
  });
  show(status, "You can also sign in here. This browser has solved the task for it.");
  field.form.removeEventListener("submit", wait);
  if (isSent) field.form.requestSubmit();
}

const status = document.getElementById("challenge");
if (status) fill(status, document.querySelector("input[name=challenge_solution]"));
