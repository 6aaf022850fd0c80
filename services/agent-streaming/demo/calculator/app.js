const KEYS = ["C", "(", ")", "÷", "7", "8", "9", "×", "4", "5", "6", "−", "1", "2", "3", "+", "0", ".", "⌫", "="];
const TYPED = { "/": "÷", "*": "×", "-": "−", Enter: "=", Backspace: "⌫", Escape: "C" };
const display = document.querySelector("#display");
let text = "";

// sum = product (("+" | "−") product)*; product = factor (("×" | "÷") factor)*; factor = number | "−" factor | "(" sum ")"
function calculate(source) {
  let at = 0;
  const take = (...signs) => (signs.includes(source[at]) ? source[at++] : undefined);
  function factor() {
    if (take("−")) {
      return -factor();
    }
    if (take("(")) {
      const inner = sum();
      if (!take(")")) {
        throw new Error("A bracket is missing");
      }
      return inner;
    }
    const number = /^\d*\.?\d*/.exec(source.slice(at))[0];
    if (!/\d/.test(number)) {
      throw new Error("A number is missing");
    }
    at += number.length;
    return Number(number);
  }
  function product() {
    let value = factor();
    for (let sign = take("×", "÷"); sign; sign = take("×", "÷")) {
      const right = factor();
      if (sign === "÷" && right === 0) {
        throw new Error("Cannot divide by zero");
      }
      value = sign === "×" ? value * right : value / right;
    }
    return value;
  }
  function sum() {
    let value = product();
    for (let sign = take("+", "−"); sign; sign = take("+", "−")) {
      const right = product();
      value = sign === "+" ? value + right : value - right;
    }
    return value;
  }
  const value = sum();
  if (at < source.length) {
    throw new Error("That does not add up");
  }
  return value;
}

function press(key) {
  if (key === "=") {
    try {
      text = String(Number(calculate(text).toPrecision(12))).replace("-", "−");
    } catch (error) {
      display.textContent = error.message;
      return;
    }
  } else if (key === "C") {
    text = "";
  } else if (key === "⌫") {
    text = text.slice(0, -1);
  } else if (text.length < 60) {
    text += key;
  }
  display.textContent = text || "0";
}

for (const key of KEYS) {
  const button = document.createElement("button");
  button.textContent = key;
  button.className = key === "=" ? "primary" : /[\d.]/.test(key) ? "" : "operator";
  button.addEventListener("click", () => press(key));
  document.querySelector("#keys").append(button);
}

document.addEventListener("keydown", (event) => {
  const key = TYPED[event.key] ?? event.key;
  if (KEYS.includes(key) && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    press(key);
  }
});
