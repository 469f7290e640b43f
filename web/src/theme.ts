import { remember, remembered } from "./api";
import type { Theme } from "./map/palette";

/** Light or dark: as the reader chose, else as what surrounds the page, else as the system says. */
export class Themes {
  private readonly system = matchMedia("(prefers-color-scheme: dark)");
  private chosen = remembered("isthmus-theme") as Theme | null;

  constructor(
    private readonly root: HTMLElement,
    private readonly changed: () => void,
  ) {
    this.apply();
    this.system.addEventListener("change", () => this.apply());
  }

  get now(): Theme {
    const outer = document.body.dataset.jpThemeLight;
    if (this.chosen) return this.chosen;
    if (outer !== undefined) return outer === "false" ? "dark" : "light";
    return this.system.matches ? "dark" : "light";
  }

  turn(): void {
    this.chosen = this.now === "dark" ? "light" : "dark";
    remember("isthmus-theme", this.chosen);
    this.apply();
  }

  private apply(): void {
    this.root.dataset.theme = this.now;
    this.changed();
  }
}
