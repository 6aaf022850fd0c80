// The preview in its frame, and what its page reports.

import { logged } from "/page/console.js";
import { connectPreview, updatePreview } from "/page/live.js";
import { element } from "/page/view.js";

export const previewPane = {
  // The id of the revision that the page shows.
  shown: "",
  clear() {
    this.frame("");
    element("open").hidden = true;
    element("empty").hidden = false;
    this.revision();
  },
  // A new frame each time: navigation of one frame would add entries to the history of the browser.
  frame(url) {
    const frame = element("preview").cloneNode();
    frame.removeAttribute("src");
    if (url) frame.src = url;
    frame.hidden = !url;
    element("building").hidden = !url;
    frame.addEventListener("load", () => {
      if (frame.isConnected) element("building").hidden = true;
    });
    element("preview").replaceWith(frame);
    this.error(undefined);
    logged.clear();
    connectPreview(frame, (report) => this.receive(report));
  },
  // The first error of the page is usually the cause of the others.
  receive(report) {
    if (report.type === "backlot:updated") {
      this.error(undefined);
      if (report.how === "reload") logged.clear();
    } else if (report.type === "backlot:console") logged.add(report);
    else if (report.type === "backlot:error") {
      logged.addFailure(report);
      if (!this.failure) this.error(report);
    }
  },
  error(report) {
    this.failure = report;
    element("fix").hidden = !report;
  },
  revision(revision) {
    this.shown = revision?.id ?? "";
    element("revision").textContent = revision ? `revision ${revision.number} · ${revision.id.slice(0, 8)}` : "no revision yet";
  },
  // A page that is open already updates itself, if it can.
  at(url) {
    if (element("preview").getAttribute("src") !== url || !updatePreview(this.shown)) this.frame(url);
    element("empty").hidden = true;
    element("open").href = url;
    element("open").hidden = false;
  },
};
