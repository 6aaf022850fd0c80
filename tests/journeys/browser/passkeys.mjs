// Tests passkeys on the account pages with a virtual authenticator (BACKLOT_SITE: the public URL, BACKLOT_LISTENER: what its name resolves to).
// Exits with 0 only if all steps passed: a passkey is added, signs in, is the second step, proves who the person is, gets another name and is removed; the first page leads to the second step.

import assert from "node:assert/strict";
import { checkPage, launch, PASSWORD, TIMEOUT } from "./support.mjs";

const site = process.env.BACKLOT_SITE;
const browser = await launch([`--host-resolver-rules=MAP ${new URL(site).host} ${process.env.BACKLOT_LISTENER}`]);
const context = await browser.newContext();
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT.timeout);

const email = `${crypto.randomUUID()}@example.com`;
const button = (name) => page.getByRole("button", { name, exact: true });
const factors = `${site}/account/second-factor`;

async function addAuthenticator() {
  const session = await context.newCDPSession(page);
  await session.send("WebAuthn.enable");
  const options = { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
  const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", { options });
  return { isVerified: (is) => session.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: is }) };
}

async function signOut() {
  await page.goto(factors);
  await button("Sign out").click();
  await page.waitForURL(`${site}/account/sign-in`);
}

try {
  const authenticator = await addAuthenticator();
  await page.goto(`${site}/account/sign-up`);
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("New password").fill(PASSWORD);
  await button("Create an account").click();
  await page.waitForURL(`${site}/`);

  // A person who is not verified by the device gets no passkey, and can try again.
  await authenticator.isVerified(false);
  await page.goto(factors);
  await page.getByLabel("Name of the passkey").fill("Laptop");
  await button("Add a passkey").click();
  await page.getByText("The browser used no passkey. Try again.").waitFor();
  await checkPage(page, "passkey-failed");
  await authenticator.isVerified(true);
  await button("Create the passkey").click();
  await page.getByText("The passkey is added.").waitFor();
  assert.equal(await page.locator(".secrets li").count(), 10, "recovery codes");

  await signOut();
  await button("Sign in with a passkey").click();
  await page.waitForURL(`${site}/`);
  await page.goto(factors);
  await page.getByRole("rowheader", { name: "Laptop" }).waitFor();
  await checkPage(page, "passkeys");

  // The first page has no second step, and says where there is one.
  await signOut();
  await page.goto(`${site}/`);
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await button("Sign in").click();
  await page.getByText("Your account has a second factor, which this page cannot ask for.").waitFor();
  await checkPage(page, "second-factor-required");
  await page.getByRole("link", { name: "Sign in with it" }).click();
  await page.waitForURL(`${site}/account/sign-in`);
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await button("Sign in").click();
  await page.getByRole("heading", { name: "Enter a code or use a passkey" }).waitFor();
  await button("Use a passkey").click();
  await page.waitForURL(`${site}/`);

  await page.goto(`${site}/account/confirm?next=second-factor`);
  await button("Use a passkey").click();
  await page.waitForURL(factors);
  await page.getByLabel("New name").fill("Phone");
  await button("Rename the passkey").click();
  await page.getByRole("rowheader", { name: "Phone" }).waitFor();
  await button("Remove Phone").click();
  await page.getByText("The passkey is removed.").waitFor();
  assert.equal(await page.getByRole("rowheader").count(), 0);

  // Without scripts the page says what it needs.
  const plain = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
  await plain.goto(`${site}/account/sign-in`);
  await plain.getByRole("button", { name: "Sign in with a passkey" }).click();
  await plain.getByRole("heading", { name: "Use a passkey" }).waitFor(TIMEOUT);
  // The driver shows no `noscript`.
  assert.match(await plain.content(), /<noscript><p>Passkeys need JavaScript/);
  assert.equal(await plain.getByRole("button", { name: "Use the passkey" }).count(), 0);
  console.log("ok");
} finally {
  await browser.close();
}
