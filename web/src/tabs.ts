import type { Panel } from "./desk";
import { el } from "./dom";

let made = 0;

/** Panels of which one is in view; arrow keys go from tab to tab. */
export class Tabs {
  readonly element: HTMLElement;
  private readonly tabs = new Map<string, HTMLButtonElement>();
  private current: Panel;

  constructor(private readonly panels: readonly [Panel, ...Panel[]]) {
    this.current = panels[0];
    const mark = made++ ? `-${made}` : ""; // a notebook may show several
    const list = el("div", {
      class: "tabs",
      role: "tablist",
      "aria-label": "Views",
      onkeydown: (event: KeyboardEvent) => this.key(event),
    });
    for (const { id, title, element } of panels) {
      const tab = el(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${id}${mark}`,
          "aria-controls": `panel-${id}${mark}`,
          onclick: () => this.open(id),
        },
        title,
      );
      this.tabs.set(id, tab);
      list.append(tab);
      element.id = `panel-${id}${mark}`;
      element.classList.add("panel");
      element.setAttribute("role", "tabpanel");
      element.setAttribute("aria-labelledby", tab.id);
    }
    this.element = el(
      "aside",
      { class: "side" },
      list,
      el("div", { class: "panels" }, ...panels.map((panel) => panel.element)),
    );
    this.mark();
  }

  open(id: string): void {
    const panel = this.panels.find((each) => each.id === id);
    if (!panel || panel === this.current) return;
    this.current.close?.();
    this.current = panel;
    this.mark();
    panel.open?.();
  }

  /** The panel in view. */
  get shown(): string {
    return this.current.id;
  }

  private mark(): void {
    for (const { id, element } of this.panels) {
      const tab = this.tabs.get(id) as HTMLButtonElement;
      const isShown = id === this.current.id;
      tab.setAttribute("aria-selected", String(isShown));
      tab.tabIndex = isShown ? 0 : -1;
      element.hidden = !isShown;
    }
  }

  private key(event: KeyboardEvent): void {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const place = this.panels.indexOf(this.current) + by + this.panels.length;
    const next = this.panels[place % this.panels.length] as Panel;
    this.open(next.id);
    this.tabs.get(next.id)?.focus();
  }
}
