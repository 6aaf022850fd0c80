// Asks the authenticator for the passkey of the page, and sends its answer with the form.

const part = document.getElementById("passkey");
const fault = document.getElementById("passkey-fault");
const form = part.querySelector("form");

const REFUSED = "The browser used no passkey. Try again.";
const KNOWN = "This device or key already has a passkey of your account.";
const TOO_OLD = "This browser is too old for passkeys.";

function show(text) {
  fault.textContent = text;
  fault.hidden = false;
}

async function ask() {
  const options = JSON.parse(part.dataset.options);
  if (part.dataset.mode === "create") {
    return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
  }
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
}

async function send(event) {
  event.preventDefault();
  fault.hidden = true;
  try {
    form.elements.credential.value = JSON.stringify(await ask());
  } catch (error) {
    show(error.name === "InvalidStateError" ? KNOWN : REFUSED);
    return;
  }
  form.submit();
}

if (globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  part.hidden = false;
  form.addEventListener("submit", send);
  form.requestSubmit();
} else {
  show(TOO_OLD);
}
