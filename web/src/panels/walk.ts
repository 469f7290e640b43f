import { complain, type Desk, type Panel } from "../desk";
import { choice, el, latest } from "../dom";
import { cell, number } from "../format";
import { shown } from "../preview";
import type { Row, Walked } from "../types";

/** The samples between two rows, as a film strip. */
export class Walk implements Panel {
  readonly id = "walk";
  readonly title = "Walk";
  readonly element: HTMLElement;
  private start = -1;
  private end = -1;
  private steps = 9;
  private path = "linear";
  private readonly ends = el("p", { class: "ends" });
  private readonly strip = el("div", { class: "strip", role: "list", "aria-label": "Film strip" });

  constructor(private readonly desk: Desk) {
    const steps = el("input", {
      type: "number",
      min: "2",
      max: "50",
      value: String(this.steps),
      "aria-label": "Steps",
      onchange: () => {
        this.steps = Math.max(2, Math.min(50, Math.round(Number(steps.value)) || 9));
        steps.value = String(this.steps);
        this.ask(null);
      },
    });
    this.element = el(
      "div",
      {},
      el("h2", {}, "From one to another"),
      this.ends,
      el(
        "div",
        { class: "row" },
        choice(
          "Path",
          [
            ["linear", "Linear"],
            ["spherical", "Spherical"],
          ] as const,
          "linear",
          (path) => {
            this.path = path;
            this.ask(null);
          },
        ),
        el("label", { class: "field" }, "steps", steps),
        el("button", { type: "button", class: "quiet", onclick: () => this.swap() }, "Swap"),
      ),
      this.strip,
      el(
        "p",
        { class: "aside" },
        "A linear path cuts straight through the codes; a spherical one turns at an even rate, and stays where codes of a normal cloud are.",
      ),
    );
    this.tell();
  }

  /** Make the picked row an end; the other stays. */
  setEnd(which: "start" | "end", row: number): void {
    this[which] = row;
    this.tell();
    this.ask(null);
  }

  open(): void {
    this.mark();
  }

  close(): void {
    this.desk.map.marks.path = [];
    this.desk.map.marks.ends = [-1, -1];
    this.desk.map.redraw();
  }

  /** With the panel open, the first row that is picked is the start, every later one the end. */
  picked(row: Row): void {
    if (this.start < 0) this.setEnd("start", row.row);
    else if (row.row !== this.start) this.setEnd("end", row.row);
  }

  back(): void {
    this.ask(null);
  }

  private swap(): void {
    [this.start, this.end] = [this.end, this.start];
    this.tell();
    this.ask(null);
  }

  private tell(): void {
    const { noun } = this.desk.facts;
    const name = (row: number) => (row < 0 ? "…" : `${noun} ${row}`);
    this.ends.replaceChildren(
      el("b", {}, name(this.start)),
      " → ",
      el("b", {}, name(this.end)),
      el(
        "span",
        { class: "aside" },
        this.end < 0 ? (this.start < 0 ? "  Pick where it begins." : "  Pick where it ends.") : "",
      ),
    );
    this.mark();
  }

  private mark(): void {
    this.desk.map.marks.ends = [this.start, this.end];
    this.desk.map.redraw();
  }

  private readonly ask = latest<null>(async () => {
    if (this.start < 0 || this.end < 0) return;
    try {
      const found = await this.desk.api.walk(this.start, this.end, this.steps, this.path);
      this.desk.map.marks.path = found.points;
      this.desk.map.redraw();
      if (found.shown[0]?.cells) this.strip.replaceChildren(film(found));
      else
        this.strip.replaceChildren(
          ...found.shown.map((each, i) =>
            el(
              "figure",
              { role: "listitem" },
              shown(each, `step ${i + 1}`),
              el("figcaption", {}, number(found.places[i])),
            ),
          ),
        );
    } catch (error) {
      complain(this.strip, error);
    }
  });
}

/** A walk through rows of a table: a line a column, a place a step; where a category turns is marked. */
function film({ shown, places }: Walked): HTMLElement {
  const lines = (shown[0]?.cells ?? []).map(([name], i) => {
    const values = shown.map((each) => each.cells?.[i]?.[1]);
    const turns = (step: number) => step > 0 && typeof values[step] !== "number" && values[step] !== values[step - 1];
    return el(
      "tr",
      {},
      el("th", { scope: "row", title: name }, name),
      ...values.map((value, step) => el("td", { class: turns(step) ? "turns" : "" }, cell(value))),
    );
  });
  const head = el(
    "tr",
    {},
    el("th", {}),
    ...places.map((place) => el("th", { scope: "col", "data-step": "" }, number(place))),
  );
  return el("table", { class: "film" }, el("thead", {}, head), el("tbody", {}, ...lines));
}
