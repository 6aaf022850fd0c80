// Shows the prices of the chosen billing period.
const YEARLY_DISCOUNT = 0.2;
const prices = document.querySelectorAll("[data-month]");
const status = document.querySelector("#price-status");

function show(period) {
  for (const price of prices) {
    const monthly = Number(price.dataset.month);
    price.textContent = `$${period === "year" ? monthly * (1 - YEARLY_DISCOUNT) : monthly}`;
  }
  status.textContent = period === "year" ? "Prices with yearly billing" : "Prices with monthly billing";
}

document.querySelector(".switch").addEventListener("change", (event) => show(event.target.value));
