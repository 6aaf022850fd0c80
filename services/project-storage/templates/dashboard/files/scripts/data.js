// The figures of the dashboard. Replace this module with a request to your own server.
const NAMES = ["Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb", "Mar", "Apr", "May", "Jun"];
const REVENUE = [31200, 29800, 34100, 38600, 45200, 52900, 37400, 36100, 41800, 44600, 47900, 51300];
const ORDERS = [412, 398, 441, 492, 571, 668, 472, 459, 520, 548, 590, 633];

export const months = NAMES.map((name, index) => ({ name, revenue: REVENUE[index], orders: ORDERS[index] }));
export const channels = [
  { name: "Web shop", share: 0.54 },
  { name: "Retail", share: 0.27 },
  { name: "Partners", share: 0.19 },
];
export const products = [
  { name: "Trail lamp", share: 0.31 },
  { name: "Enamel mug", share: 0.24 },
  { name: "Wool blanket", share: 0.18 },
  { name: "Day pack", share: 0.15 },
  { name: "Field notes", share: 0.12 },
];
