// What a person has to know before a sign-up: who can create an account here, and how long a password is. Without an answer of the server
// nothing is shown, and a refusal says it.

import { api } from "/page/api.js";
import { element, make } from "/page/view.js";

// Who can create an account; empty if everybody can.
export function whoCanSignUp({ signUpClosed, inviteRequired, signUpDomainsOnly }) {
  if (signUpClosed) return "Only the operator of this site creates accounts.";
  if (inviteRequired) return "You need an invite to create an account here.";
  return signUpDomainsOnly ? "Only addresses of certain domains can create an account here." : "";
}

export async function showSignUpRules() {
  const rules = await api.signUpRules().catch(() => ({}));
  const [length, who] = [rules.passwordMinLength, whoCanSignUp(rules)];
  element("password-rule").textContent = length ? `A new password has at least ${length} characters.` : "";
  element("password-rule").hidden = !length;
  element("sign-up-rule").replaceChildren(who, ...(who ? [" ", make("a", { href: "/account/sign-up" }, "About sign-up")] : []));
  element("sign-up-rule").hidden = !who;
  element("sign-up").hidden = Boolean(rules.signUpClosed || rules.inviteRequired);
}
