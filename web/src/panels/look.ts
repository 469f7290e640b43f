import { complain, type Desk, figure, type Panel } from "../desk";
import { el, latest } from "../dom";
import { cell, number, percent } from "../format";
import { replaceShown } from "../preview";
import type { Decoded, Preview, Row } from "../types";

const MOST_CELLS = 40;

/** One row beside its reconstruction, and the decoder at work on any other code. */
export class Look implements Panel {
  readonly id = "look";
  readonly title = "Look";
  readonly element: HTMLElement;
  code: number[];
  private live: Preview | null = null;
  private readonly heading = el("h2", {}, "");
  private readonly hint = el("p", { class: "aside" });
  private readonly figures = el("dl", { class: "figures" });
  private readonly frames = el("div", { class: "frames" });
  private readonly original = el("div", { class: "frame", "data-frame": "original" });
  private readonly rebuilt = el("div", { class: "frame", "data-frame": "rebuilt" });
  private readonly decoded = el("div", { class: "frame", "data-frame": "decoded" });
  private readonly comparison = el("div", { class: "scroll" });
  private readonly actions = el("div", { class: "actions" });
  readonly trouble = el("div", {});
  private readonly sliders: HTMLInputElement[] = [];
  private readonly outputs: HTMLOutputElement[] = [];

  constructor(
    private readonly desk: Desk,
    actions: (readonly [string, () => void])[],
  ) {
    const { facts } = desk;
    this.code = [...facts.mean];
    this.heading.textContent = "The mean of all codes";
    this.hint.textContent =
      "Point at the map to see a row beside its reconstruction, click to pick one. Drag the ring, or a slider: the decoder draws what stands there.";
    for (const [text, act] of actions)
      this.actions.append(el("button", { type: "button", disabled: true, onclick: act }, text));
    this.element = el(
      "div",
      {},
      this.heading,
      this.hint,
      this.figures,
      this.frames,
      this.comparison,
      this.actions,
      this.trouble,
      el(
        "h3",
        {},
        facts.code_size > facts.sliders.length
          ? `The ${facts.sliders.length} numbers of the code that vary most`
          : "The code",
      ),
      el("div", { class: "sliders" }, ...facts.sliders.map((dim) => this.slider(dim))),
      el("button", { type: "button", class: "quiet", onclick: () => this.reset() }, "Back to where it was"),
    );
    this.layFrames(null);
    this.ask({ code: this.code });
  }

  picked(row: Row): void {
    this.code = [...row.code];
    this.live = null;
    this.heading.textContent = row.name;
    this.hint.hidden = true;
    for (const button of this.actions.querySelectorAll("button")) button.disabled = false;
    this.figures.replaceChildren(
      ...(row.error === null ? [] : [figure("reconstruction error", row.error, number(row.error))]),
      ...row.known.map(([name, value]) =>
        el("div", { class: "figure" }, el("dt", {}, name), el("dd", {}, cell(value))),
      ),
    );
    this.layFrames(row);
    this.moveSliders();
    this.desk.map.marks.probe = row.point;
    this.desk.map.redraw();
    this.trouble.replaceChildren();
  }

  /** The probe was moved to a point of the map. */
  probed(point: [number, number]): void {
    this.ask({ point });
  }

  back(): void {
    this.ask({ code: this.code });
  }

  private readonly ask = latest<{ point: [number, number] } | { code: number[] }>(async (asked) => {
    try {
      const { api, picked } = this.desk;
      const isPoint = "point" in asked;
      const found = await (isPoint ? api.place(asked.point, picked?.row ?? null) : api.decode(asked.code));
      this.took(found, isPoint);
    } catch (error) {
      complain(this.trouble, error);
    }
  });

  private took(found: Decoded, isPoint: boolean): void {
    const [preview, code, point] = [found.shown[0], found.codes[0], found.points[0]];
    if (!preview || !code || !point) return;
    this.live = preview;
    if (isPoint) {
      this.code = code;
      this.moveSliders();
    } else {
      this.desk.map.marks.probe = point;
      this.desk.map.redraw();
    }
    this.decoded.hidden = false;
    this.showLive();
  }

  private slider(dim: number): HTMLElement {
    const { facts } = this.desk;
    const [low, high] = [facts.low[dim] ?? -1, facts.high[dim] ?? 1];
    const output = el("output", {}, number(this.code[dim]));
    const input = el("input", {
      type: "range",
      "aria-label": `code ${dim + 1}`,
      "data-dim": dim,
      min: String(low),
      max: String(high),
      step: String((high - low) / 400),
      oninput: () => {
        this.code[dim] = Number(input.value);
        output.textContent = number(this.code[dim]);
        this.ask({ code: [...this.code] });
      },
    });
    input.value = String(this.code[dim]);
    this.sliders.push(input);
    this.outputs.push(output);
    return el("label", { class: "slider" }, el("span", {}, `code ${dim + 1}`), input, output);
  }

  private moveSliders(): void {
    this.sliders.forEach((input, i) => {
      const value = this.code[this.desk.facts.sliders[i] as number] as number;
      input.value = String(value);
      (this.outputs[i] as HTMLOutputElement).textContent = number(value);
    });
  }

  private reset(): void {
    const { picked } = this.desk;
    if (picked) {
      this.picked(picked);
      return;
    }
    this.code = [...this.desk.facts.mean];
    this.moveSliders();
    this.ask({ code: this.code });
  }

  private layFrames(row: Row | null): void {
    const isDrawn = !(row?.rebuilt.cells ?? this.desk.facts.kind === "table");
    this.frames.replaceChildren();
    this.comparison.replaceChildren();
    if (!isDrawn) {
      this.showLive();
      return;
    }
    const captioned = (holder: HTMLElement, text: string) => el("figure", {}, holder, el("figcaption", {}, text));
    if (row?.original) {
      replaceShown(this.original, row.original, `${row.name}, original`);
      this.frames.append(captioned(this.original, "original"));
    }
    if (row) {
      replaceShown(this.rebuilt, row.rebuilt, `${row.name}, reconstruction`, row.original);
      this.frames.append(captioned(this.rebuilt, "reconstruction"));
    }
    this.frames.append(captioned(this.decoded, "decoded here"));
    replaceShown(this.decoded, row ? row.rebuilt : { cells: [] }, "decoded", row?.original);
    if (row?.cells.length) this.comparison.replaceChildren(differing(row, 6));
  }

  private showLive(): void {
    const { picked } = this.desk;
    if (this.live && !this.live.cells) replaceShown(this.decoded, this.live, "decoded", picked?.original);
    else if (this.live?.cells || picked?.rebuilt.cells) this.comparison.replaceChildren(compared(picked, this.live));
  }
}

/** The cells of a row beside what came back, those that differ most first, and what the probe decodes. */
function compared(row: Row | null, live: Preview | null): HTMLElement {
  const decoded = new Map(live?.cells ?? row?.rebuilt.cells ?? []);
  const known = new Map((row?.cells ?? []).map((each) => [each.name, each]));
  const before = new Map(row?.original?.cells ?? []);
  const rebuilt = new Map(row?.rebuilt.cells ?? []);
  const names = [...new Set([...known.keys(), ...decoded.keys()])].slice(0, MOST_CELLS);
  const head = ["", ...(row?.original ? ["original"] : []), ...(row ? ["rebuilt"] : []), "decoded here"];
  const lines = names.map((name) => {
    const [was, now, here] = [before.get(name), rebuilt.get(name), decoded.get(name)];
    const differs = row?.original && cell(was) !== cell(now);
    return el(
      "tr",
      { class: differs ? "differs" : "" },
      el("th", { scope: "row", title: name }, name),
      row?.original ? el("td", { class: was === null ? "gap" : "" }, cell(was)) : null,
      row ? el("td", { class: "now" }, cell(now)) : null,
      el("td", { class: "here" }, cell(here)),
    );
  });
  return el(
    "table",
    { class: "cells compared" },
    el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...lines),
  );
}

/** The cells that differ most: name, value, what came back, share of the error. */
export function differing(row: Row, most: number): HTMLElement {
  const lines = row.cells
    .slice(0, most)
    .map((each) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, each.name),
        el("td", { class: each.observed === null ? "gap" : "" }, cell(each.observed)),
        el("td", { class: "now" }, `→ ${cell(each.reconstructed)}`),
        el("td", { class: "share" }, percent(each.share)),
      ),
    );
  return el("table", { class: "cells" }, el("tbody", {}, ...lines));
}
