// Selects what is visible: the tabs of files, events, findings and the console, and on a narrow screen one of conversation, files and preview.

import { element } from "/page/view.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const views = [...document.querySelectorAll(".views button")];

function select(tab) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    element(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
}

for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    const to = key === "Home" ? 0 : key === "End" ? tabs.length - 1 : step && (tabs.indexOf(tab) + step + tabs.length) % tabs.length;
    if (to === undefined) return;
    select(tabs[to]);
    tabs[to].focus();
  });
}

export function view(pane) {
  document.body.dataset.pane = pane;
  for (const button of views) {
    button.setAttribute("aria-current", String(button.dataset.pane === pane));
    if (button.dataset.pane === pane) button.classList.remove("fresh");
  }
}

// Marks a pane that is not visible and has new content.
export function fresh(pane) {
  if (document.body.dataset.pane !== pane) views.find((button) => button.dataset.pane === pane).classList.add("fresh");
}

for (const button of views) button.addEventListener("click", () => view(button.dataset.pane));
