// Opens and closes the menu on small screens.
const button = document.querySelector(".menu-button");

function setOpen(open) {
  button.setAttribute("aria-expanded", String(open));
}

button.addEventListener("click", () => setOpen(button.getAttribute("aria-expanded") !== "true"));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && button.getAttribute("aria-expanded") === "true") {
    setOpen(false);
    button.focus();
  }
});
