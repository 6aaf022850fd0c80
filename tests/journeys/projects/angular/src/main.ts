import { Component, signal } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";

@Component({ selector: "app-root", template: "<button (click)='add()'>Count is {{ count() }}</button>" })
class App {
  protected readonly count = signal(0);
  protected add() {
    this.count.update((count) => count + 1);
  }
}

bootstrapApplication(App);
