import { complain, type Desk, type Panel } from "../desk";
import { el, latest, save } from "../dom";
import { several } from "../format";
import { shown } from "../preview";
import type { Preview } from "../types";

interface Kept {
  seed: number;
  n: number;
  place: number;
  preview: Preview;
}

/** New rows; those that please are kept and taken away as a file. */
export class Sample implements Panel {
  readonly id = "sample";
  readonly title = "Sample";
  readonly element: HTMLElement;
  private readonly kept = new Map<string, Kept>();
  private isDrawn = false;
  private readonly n = el("input", { type: "number", min: "1", max: "200", value: "12", "aria-label": "How many" });
  private readonly seed = el("input", { type: "number", min: "0", value: "0", "aria-label": "Seed" });
  private readonly grid = el("div", { class: "grid" });
  private readonly take = el("button", {
    type: "button",
    class: "main",
    disabled: true,
    onclick: () => void this.download(),
  });
  private readonly sheet = el(
    "button",
    { type: "button", hidden: true, onclick: () => this.picture() },
    "As one picture",
  );
  private readonly trouble = el("div", {});

  constructor(private readonly desk: Desk) {
    this.element = el(
      "div",
      {},
      el("h2", {}, "New samples"),
      el("p", { class: "aside" }, desk.facts.drawn_from),
      el(
        "div",
        { class: "row" },
        el("label", { class: "field" }, "how many", this.n),
        el("label", { class: "field" }, "seed", this.seed),
        el("button", { type: "button", class: "main", "data-do": "draw", onclick: () => this.draw() }, "Draw"),
        el("button", { type: "button", onclick: () => this.next() }, "Next"),
      ),
      this.grid,
      this.trouble,
      el("p", { class: "aside" }, "Click what pleases: it is kept, whatever you draw next."),
      el(
        "div",
        { class: "row" },
        this.take,
        this.sheet,
        el("button", { type: "button", class: "quiet", onclick: () => this.forget() }, "Keep none"),
      ),
    );
    this.count();
  }

  open(): void {
    if (!this.isDrawn) this.draw();
  }

  back(): void {
    this.draw();
  }

  private next(): void {
    this.seed.value = String(Number(this.seed.value) + 1);
    this.draw();
  }

  private draw(): void {
    const n = Math.max(1, Math.min(200, Math.round(Number(this.n.value)) || 12));
    this.ask({ n, seed: Math.max(0, Math.round(Number(this.seed.value)) || 0) });
  }

  private readonly ask = latest<{ n: number; seed: number }>(async ({ n, seed }) => {
    try {
      const { shown: drawn } = await this.desk.api.sample(n, seed);
      this.isDrawn = true;
      this.trouble.replaceChildren();
      this.grid.replaceChildren(...drawn.map((preview, place) => this.card({ seed, n, place, preview })));
    } catch (error) {
      complain(this.trouble, error);
    }
  });

  private card(each: Kept): HTMLElement {
    const name = `${each.seed}/${each.n}/${each.place}`;
    const button = el(
      "button",
      {
        type: "button",
        class: "card",
        "aria-pressed": String(this.kept.has(name)),
        "aria-label": `sample ${each.place + 1}`,
        onclick: () => {
          if (!this.kept.delete(name)) this.kept.set(name, each);
          button.setAttribute("aria-pressed", String(this.kept.has(name)));
          this.count();
        },
      },
      shown(each.preview, `sample ${each.place + 1}`),
    );
    return button;
  }

  private count(): void {
    this.take.textContent = this.kept.size ? `Download ${several(this.kept.size, "sample")}` : "Nothing kept yet";
    this.take.disabled = !this.kept.size;
    this.sheet.hidden = ![...this.kept.values()].some((each) => each.preview.image);
  }

  private forget(): void {
    this.kept.clear();
    for (const card of this.grid.children) card.setAttribute("aria-pressed", "false");
    this.count();
  }

  private async download(): Promise<void> {
    try {
      const wanted = [...this.kept.values()].map(({ seed, n, place }) => ({ seed, n, place }));
      const { blob, name } = await this.desk.api.kept(wanted);
      save(blob, name);
    } catch (error) {
      complain(this.trouble, error);
    }
  }

  /** Put the kept pictures side by side into one. */
  private picture(): void {
    const cards = [...this.kept.values()].map((each) => shown(each.preview, "") as HTMLCanvasElement);
    const [width, height] = [cards[0]?.width ?? 1, cards[0]?.height ?? 1];
    const across = Math.ceil(Math.sqrt(cards.length));
    const sheet = el("canvas", {
      width: across * (width + 1) - 1,
      height: Math.ceil(cards.length / across) * (height + 1) - 1,
    });
    const context = sheet.getContext("2d");
    cards.forEach((card, i) => {
      context?.drawImage(card, (i % across) * (width + 1), Math.floor(i / across) * (height + 1));
    });
    sheet.toBlob((blob) => blob && save(blob, "samples.png"));
  }
}
