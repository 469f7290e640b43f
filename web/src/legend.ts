import { complain, type Desk } from "./desk";
import { el, latest } from "./dom";
import { number } from "./format";
import { CATEGORIES, colours, ramp, type Theme } from "./map/palette";
import type { Legend as Facts } from "./types";

/** What the points are coloured by: the list of what can be chosen, and what the colours mean. */
export class Legend {
  readonly choice: HTMLSelectElement;
  readonly element = el("div", { class: "legend", role: "group", "aria-label": "Colours" });
  private facts: Facts | null = null;
  private values: Float64Array = new Float64Array();
  private alone = -1;

  constructor(
    private readonly desk: Desk,
    private readonly theme: () => Theme,
  ) {
    this.choice = el(
      "select",
      { "aria-label": "Colour by", onchange: () => this.ask(this.choice.value) },
      ...desk.facts.colours.map((name) => el("option", { value: name }, name)),
    );
  }

  /** Colour by what is chosen. */
  refresh(): void {
    this.ask(this.choice.value);
  }

  /** The theme has changed. */
  repaint(): void {
    if (!this.facts) return;
    const { groups, bounds } = this.facts;
    this.desk.map.paint(colours(this.values, groups.length > 0, bounds ?? [0, 1], this.theme()));
    this.show();
  }

  /** No group is alone any more: something else is brought out. */
  release(): void {
    if (this.alone < 0) return;
    this.alone = -1;
    this.show();
  }

  /** What a point is coloured for, in words. */
  said(row: number): string {
    const value = this.values[row];
    if (!this.facts || value === undefined) return "";
    const { groups, name } = this.facts;
    return `${name} ${Number.isNaN(value) ? "gap" : groups.length ? (groups[value] ?? "") : number(value)}`;
  }

  private readonly ask = latest<string>(async (name) => {
    this.element.classList.add("busy");
    try {
      const facts = await this.desk.api.legend(name);
      this.values = await this.desk.api.values(name);
      this.facts = facts;
      this.alone = -1;
      this.desk.map.highlight(null);
      this.repaint();
    } catch (error) {
      complain(this.element, error);
    }
    this.element.classList.remove("busy");
  });

  private show(): void {
    const { name, groups, bounds } = this.facts as Facts;
    this.element.replaceChildren(
      el("h2", {}, name),
      groups.length ? this.groups(groups) : scale(bounds ?? [0, 1], this.theme()),
    );
    if (this.values.some(Number.isNaN)) this.element.append(el("p", { class: "aside" }, "grey: gap"));
  }

  private groups(groups: string[]): HTMLElement {
    const items = groups.map((group, place) => {
      const dot = el("span", { class: "dot" });
      dot.style.background = CATEGORIES[place] as string;
      return el(
        "button",
        {
          type: "button",
          "aria-pressed": String(place === this.alone),
          title: `Show ${group} alone`,
          onclick: () => this.isolate(place),
        },
        dot,
        el("span", { class: "name" }, group),
      );
    });
    return el("div", { class: this.alone < 0 ? "groups" : "groups has-alone" }, ...items);
  }

  private isolate(place: number): void {
    this.alone = this.alone === place ? -1 : place;
    const { alone, values } = this;
    this.desk.map.highlight(alone < 0 ? null : (row) => values[row] === alone);
    this.show();
  }
}

function scale([low, high]: [number, number], theme: Theme): HTMLElement {
  const bar = el("span", { class: "ramp" });
  bar.style.background = `linear-gradient(to right, ${ramp(theme).join(", ")})`;
  return el(
    "div",
    { class: "scale" },
    bar,
    el("div", { class: "ends" }, el("span", {}, number(low)), el("span", {}, `${number(high)} and more`)),
  );
}
