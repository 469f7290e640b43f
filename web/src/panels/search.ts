import { complain, type Desk, type Panel } from "../desk";
import { el, latest } from "../dom";
import { number } from "../format";
import { shown } from "../preview";
import type { Near, Row } from "../types";

type Asked = { row: number } | { code: number[] } | { file: File };

const METRICS: Record<string, string> = {
  sqeuclidean: "squared distance of the codes",
  cosine: "cosine distance of the codes",
  hamming: "number of bits that differ",
};

/** The rows most like the picked one, like what the probe decodes, or like one in a file. */
export class Search implements Panel {
  readonly id = "search";
  readonly title = "Search";
  readonly element: HTMLElement;
  private isOpen = false;
  private last: Asked | null = null;
  private readonly heading = el(
    "p",
    { class: "aside" },
    "Pick a row on the map, or give a file: its first row is looked up.",
  );
  private readonly asked = el("div", { class: "asked" });
  private readonly grid = el("div", { class: "grid" });
  private readonly k = el("input", {
    type: "number",
    min: "1",
    max: "200",
    value: "8",
    "aria-label": "How many",
    onchange: () => this.again(),
  });

  constructor(
    private readonly desk: Desk,
    code: () => number[],
  ) {
    const input = el("input", {
      type: "file",
      "aria-label": "A file to look up",
      onchange: () => {
        const file = input.files?.[0];
        if (file) this.look({ file });
        input.value = "";
      },
    });
    const drop = el(
      "label",
      {
        class: "drop",
        ondragover: (event: DragEvent) => event.preventDefault(),
        ondrop: (event: DragEvent) => {
          event.preventDefault();
          const file = event.dataTransfer?.files[0];
          if (file) this.look({ file });
        },
      },
      desk.facts.kind === "images"
        ? "Look up a picture: drop it here, or choose one"
        : "Look up a row: drop a file here, or choose one",
      input,
    );
    this.element = el(
      "div",
      {},
      el("h2", {}, "What is alike"),
      this.heading,
      el(
        "div",
        { class: "row" },
        el("label", { class: "field" }, "how many", this.k),
        el("button", { type: "button", onclick: () => this.look({ code: code() }) }, "Like what is decoded"),
      ),
      desk.facts.takes_files ? drop : null,
      this.asked,
      this.grid,
    );
  }

  open(): void {
    this.isOpen = true;
    const { picked, map } = this.desk;
    if (picked) this.look({ row: picked.row });
    else map.redraw();
  }

  close(): void {
    this.isOpen = false;
    this.desk.map.marks.near = [];
    this.desk.map.redraw();
  }

  picked(row: Row): void {
    if (this.isOpen) this.look({ row: row.row });
  }

  back(): void {
    this.again();
  }

  private again(): void {
    if (this.last) this.ask(this.last);
  }

  private look(asked: Asked): void {
    this.last = asked;
    this.ask(asked);
  }

  private readonly ask = latest<Asked>(async (asked) => {
    const k = Math.max(1, Math.min(200, Math.round(Number(this.k.value)) || 8));
    const { api, facts } = this.desk;
    try {
      let found: Near;
      this.asked.replaceChildren();
      if ("row" in asked) {
        found = await api.near(asked.row, k);
        this.heading.textContent = `The rows nearest to ${facts.noun} ${asked.row}, by code.`;
      } else if ("code" in asked) {
        found = await api.nearCode(asked.code, k);
        this.heading.textContent = "The rows nearest to what is decoded at the probe.";
      } else {
        found = await api.search(asked.file, k);
        this.heading.textContent = `The rows nearest to the first of ${asked.file.name}.`;
        if (found.asked) this.asked.append(shown(found.asked, asked.file.name));
      }
      this.show(found);
    } catch (error) {
      complain(this.grid, error);
    }
  });

  private show(found: Near): void {
    const { map, facts } = this.desk;
    this.heading.append(` The number is the ${METRICS[found.metric] ?? found.metric}.`);
    if (this.isOpen) map.marks.near = found.rows;
    map.redraw();
    this.grid.replaceChildren(
      ...found.rows.map((row, i) =>
        el(
          "button",
          { type: "button", class: "card", "data-row": row, onclick: () => this.desk.pick(row) },
          shown(found.shown[i] ?? {}, `${facts.noun} ${row}`),
          el("span", { class: "caption" }, `${facts.noun} ${row}`),
          el("span", { class: "caption pale", "data-value": found.distances[i] ?? "" }, number(found.distances[i])),
        ),
      ),
    );
  }
}
