// The findings of checks: those of a turn in the conversation and in a tab, and those of a revision on request in the tab.

import { element, make } from "/page/view.js";

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const placeOf = ({ file, line, column }) => [file, line, column].filter(Boolean).join(":");

// One line about a check. `total` counts also findings that are not in the list.
export function summaryOf({ status, findings = [], total = findings.length }) {
  if (status === "CHECKS_STATUS_CLEAN") return "The check found nothing.";
  if (status === "CHECKS_STATUS_NOT_COMPILED") return "The project has no file that can be checked.";
  if (status !== "CHECKS_STATUS_FINDINGS") return "The files could not be checked.";
  const warnings = findings.filter((finding) => finding.isWarning).length;
  const errors = findings.length - warnings;
  if (total > findings.length) return `The check found ${count(total, "fault")}.`;
  return `The check found ${[errors && count(errors, "error"), warnings && count(warnings, "warning")].filter(Boolean).join(" and ")}.`;
}

function row(finding) {
  const kind = finding.isWarning ? "Warning" : "Error";
  const line = make("li", { className: finding.isWarning ? "warning" : "error" }, make("p", {}, make("b", {}, placeOf(finding)), ` ${kind}: ${finding.message}`));
  if (finding.frame) line.append(make("pre", { tabIndex: 0 }, finding.frame.trimEnd()));
  if (finding.help) line.append(make("p", { className: "help" }, finding.help));
  return line;
}

const listOf = (findings = []) => make("ol", { className: "findings" }, ...findings.map(row));

// The findings of a turn, for the conversation. A check without findings has none.
export function detailsOf(checks) {
  if (!checks.findings?.length) return undefined;
  const told = checks.isReturned ? `${summaryOf(checks)} The agent gets them once, to correct them.` : summaryOf(checks);
  return make("details", { className: "checks", open: true }, make("summary", {}, told), listOf(checks.findings));
}

export const findings = {
  clear() {
    element("findings").replaceChildren();
    element("checked").textContent = "Nothing was checked yet.";
    element("found").textContent = "";
  },
  // `what` was checked: "revision 3", "this turn".
  show(checks, what) {
    element("findings").replaceChildren(...listOf(checks.findings).children);
    element("checked").textContent = `${summaryOf(checks)} Checked: ${what}.`;
    element("found").textContent = String(checks.total ?? checks.findings?.length ?? 0);
  },
};
