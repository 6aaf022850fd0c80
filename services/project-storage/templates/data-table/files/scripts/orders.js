// The rows of the table. Replace this module with a request to your own server.
const CUSTOMERS = [
  ["Aster Books", "Bristol"], ["Blue Door Bakery", "Leeds"], ["Cedar Clinic", "Dublin"], ["Delta Cycles", "Utrecht"], ["Elm Street Cafe", "Boston"],
  ["Fjord Sports", "Bergen"], ["Garden and Sons", "Ghent"], ["Hill House Hotel", "Porto"], ["Iris Optics", "Lyon"], ["Juniper Labs", "Graz"],
];
const STATUSES = ["Paid", "Open", "Paid", "Late", "Paid", "Open", "Paid"];
const DAY = 86_400_000;

export const orders = Array.from({ length: 84 }, (_, index) => {
  const [customer, city] = CUSTOMERS[(index * 7) % CUSTOMERS.length];
  return {
    number: `A-${1084 - index}`,
    customer,
    city,
    date: new Date(Date.UTC(2026, 5, 30) - index * 2 * DAY).toISOString().slice(0, 10),
    amount: 40 + ((index * 7919) % 2400) + ((index * 37) % 100) / 100,
    status: STATUSES[(index * 3) % STATUSES.length],
  };
});
