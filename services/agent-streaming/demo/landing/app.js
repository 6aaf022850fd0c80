const form = document.querySelector("#form");
const email = document.querySelector("#email");
const answer = document.querySelector("#answer");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!email.checkValidity()) {
    answer.textContent = "That does not look like an e-mail address yet.";
    email.focus();
    return;
  }
  // There is nobody to send it to: a page of plain files has no server of its own.
  answer.textContent = `Thank you! We would write to ${email.value}.`;
  form.reset();
});

const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
for (const link of document.querySelectorAll('a[href^="#"]')) {
  link.addEventListener("click", (event) => {
    const target = document.querySelector(link.getAttribute("href"));
    if (target) {
      event.preventDefault();
      target.scrollIntoView({ behavior: reduced ? "auto" : "smooth" });
    }
  });
}
