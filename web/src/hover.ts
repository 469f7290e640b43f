import type { Desk } from "./desk";
import { el, latest } from "./dom";
import { number } from "./format";
import type { Point } from "./map/camera";
import { differing } from "./panels/look";
import { shown } from "./preview";
import type { Row } from "./types";

const REMEMBERED = 300;

/** The card beside the pointer: a row and its reconstruction. */
export class Hover {
  readonly element = el("div", { class: "hover", hidden: true });
  private readonly rows = new Map<number, Row>();
  private wanted = -1;
  private at: Point = [0, 0];

  constructor(
    private readonly desk: Desk,
    private readonly said: (row: number) => string,
  ) {}

  point(row: number, at: Point): void {
    this.at = at;
    if (row === this.wanted) {
      if (row >= 0) this.lay();
      return;
    }
    this.wanted = row;
    this.element.hidden = true;
    if (row >= 0) this.ask(row);
  }

  private readonly ask = latest<number>(async (row) => {
    try {
      const known = this.rows.get(row) ?? (await this.desk.api.row(row));
      if (this.rows.size >= REMEMBERED) this.rows.clear();
      this.rows.set(row, known);
      if (row === this.wanted) this.show(known);
    } catch {
      this.element.hidden = true; // the card is only a glance; a pick says what is wrong
    }
  });

  private show(row: Row): void {
    const isDrawn = !row.rebuilt.cells;
    const framed = (preview: HTMLElement, text: string) =>
      el("figure", {}, el("div", { class: "frame" }, preview), el("figcaption", {}, text));
    const frames = el(
      "div",
      { class: "frames" },
      row.original && isDrawn ? framed(shown(row.original, "original"), "original") : null,
      isDrawn ? framed(shown(row.rebuilt, "reconstruction", row.original), "reconstruction") : null,
    );
    this.element.replaceChildren(
      el("p", { class: "name" }, el("b", {}, row.name), ` ${this.said(row.row)}`),
      isDrawn ? frames : row.cells.length ? differing(row, 5) : shown(row.rebuilt, "decoded"),
      row.error === null ? "" : el("p", { class: "aside" }, `reconstruction error ${number(row.error)}`),
    );
    this.element.hidden = false;
    this.lay();
  }

  /** Beside the pointer, and within the map. */
  private lay(): void {
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const box = this.desk.map.element.getBoundingClientRect();
    const x = this.at[0] + 18 + width > box.width ? this.at[0] - 18 - width : this.at[0] + 18;
    const y = Math.max(6, Math.min(this.at[1] - height / 2, box.height - height - 6));
    this.element.style.transform = `translate(${Math.max(6, x)}px, ${y}px)`;
  }
}
