import { Api } from "./api";
import { complain, type Desk } from "./desk";
import { askKey, showKeys } from "./dialogs";
import { choice, el, latest, save } from "./dom";
import { count, several } from "./format";
import { Hover } from "./hover";
import { icon } from "./icons";
import { Legend } from "./legend";
import { MapView, type Tool } from "./map/view";
import { Health } from "./panels/health";
import { Look } from "./panels/look";
import { Odd } from "./panels/odd";
import { Sample } from "./panels/sample";
import { Search } from "./panels/search";
import { Walk } from "./panels/walk";
import { Tabs } from "./tabs";
import { Themes } from "./theme";
import type { Facts, Row } from "./types";
import type { Wire } from "./wire";

/** More rows than these are not judged before somebody asks for it: colours that cost little come first. */
const MANY = 50_000;
const COSTLY = ["reconstruction error", "anomaly score"];

/** Lay a model open in an element; resolves when the points are there. */
export async function mount(root: HTMLElement, wire: Wire): Promise<void> {
  root.classList.add("isthmus");
  const api = new Api(wire);
  api.askKey = (wasWrong) => askKey(root, wasWrong);
  const gone = el("p", { class: "gone", role: "alert", hidden: true });
  gone.textContent =
    "The server does not answer. Is isthmus explore still running? The page goes on by itself when it is back.";
  root.replaceChildren(gone, el("p", { class: "opening" }, "Opening the model …"));
  const waits: (() => void)[] = [];
  api.onChange((isThere) => {
    gone.hidden = isThere;
    if (isThere) for (const wake of waits.splice(0)) wake();
  });
  for (;;) {
    try {
      const facts = await api.facts();
      const points = await api.points();
      new App(root, api, gone, facts).show(points);
      return;
    } catch (error) {
      if (gone.hidden) {
        complain(root, error);
        throw error;
      }
      await new Promise<void>((resolve) => waits.push(resolve));
    }
  }
}

class App implements Desk {
  readonly map: MapView;
  picked: Row | null = null;
  private readonly tabs: Tabs;
  private readonly look: Look;
  private readonly walk: Walk;
  private readonly panels;
  private readonly hover: Hover;
  private readonly legend: Legend;
  private readonly themes: Themes;
  private readonly chosen = el("div", { class: "chosen", role: "status" });
  private readonly stage = el("section", { class: "stage", "aria-label": "Map" });

  constructor(
    private readonly root: HTMLElement,
    readonly api: Api,
    gone: HTMLElement,
    readonly facts: Facts,
  ) {
    this.map = new MapView({
      hover: (row, at) => this.hover.point(row, at),
      pick: (row, isSecond) => this.chose(row, isSecond),
      lasso: (rows) => this.lassoed(rows),
      probe: (at) => this.look.probed(at),
    });
    this.look = new Look(this, [
      ["Walk from here", () => this.from("start")],
      ["Walk to here", () => this.from("end")],
      ["What is alike", () => this.open("search")],
    ]);
    this.walk = new Walk(this);
    this.panels = [
      this.look,
      this.walk,
      new Sample(this),
      new Odd(this),
      new Search(this, () => this.look.code),
      new Health(this),
    ] as const;
    this.tabs = new Tabs(this.panels);
    this.legend = new Legend(this, () => this.themes.now);
    this.hover = new Hover(this, (row) => this.legend.said(row));
    this.themes = new Themes(root, () => this.legend.repaint());
    api.onChange((isThere) => {
      if (!isThere) return;
      this.legend.refresh();
      for (const panel of this.panels) (panel as { back?(): void }).back?.();
    });
    this.stage.append(
      this.map.element,
      this.tools(),
      this.legend.element,
      this.hover.element,
      this.chosen,
      ...axes(facts),
    );
    root.replaceChildren(gone, this.head(), el("main", {}, this.stage, this.tabs.element));
  }

  show({ x, y }: { x: Float32Array; y: Float32Array }): void {
    this.map.show(x, y);
    this.map.paint(plainly(x.length, this.themes.now === "dark" ? 150 : 110));
    this.root.dataset.ready = "points";
    this.root.dataset.painter = this.map.painter.name;
    const { facts, map } = this;
    const first = facts.colours.find((name) => facts.rows <= MANY || !COSTLY.includes(name));
    if (first) {
      this.legend.choice.value = first;
      this.legend.refresh();
    }
    if (map.painter.name === "canvas")
      this.note(
        map.stride > 1
          ? `This browser has no WebGL: every ${map.stride}${map.stride === 2 ? "nd" : map.stride === 3 ? "rd" : "th"} of ${count(x.length)} points is drawn.`
          : "This browser has no WebGL: the map is drawn without it, a little slower.",
      );
    for (const each of facts.notes) this.note(each);
  }

  pick(row: number): void {
    this.map.marks.picked = row; // the next key steps on from here, whatever is still asked
    this.fetch(row);
  }

  open(panel: string): void {
    this.tabs.open(panel);
  }

  private readonly fetch = latest<number>(async (row) => {
    try {
      this.picked = await this.api.row(row);
      this.map.reveal(row);
      this.map.redraw();
      for (const panel of this.panels) (panel as { picked?(row: Row): void }).picked?.(this.picked);
      this.root.dataset.picked = String(row);
    } catch (error) {
      this.open("look");
      complain(this.look.trouble, error);
    }
  });

  private chose(row: number, isSecond: boolean): void {
    if (row < 0) return;
    if (!isSecond) {
      this.pick(row);
      return;
    }
    if (this.picked) this.walk.setEnd("start", this.picked.row);
    this.walk.setEnd("end", row);
    this.open("walk");
  }

  private from(which: "start" | "end"): void {
    if (this.picked) this.walk.setEnd(which, this.picked.row);
    this.open("walk");
  }

  private lassoed(rows: Uint32Array): void {
    const clear = () => {
      this.chosen.replaceChildren();
      this.map.highlight(null);
    };
    if (!rows.length) {
      clear();
      return;
    }
    const isIn = new Uint8Array(this.map.count);
    for (const row of rows) isIn[row] = 1;
    this.legend.release();
    this.map.highlight((row) => isIn[row] === 1);
    const list = () => save(new Blob([`row\n${rows.join("\n")}\n`], { type: "text/csv" }), "rows.csv");
    this.chosen.replaceChildren(
      el("b", { "data-figure": "chosen", "data-value": rows.length }, several(rows.length, this.facts.noun)),
      el("button", { type: "button", onclick: list }, "Save their numbers"),
      el("button", { type: "button", class: "quiet", onclick: clear }, "Clear"),
    );
  }

  private note(sentence: string): void {
    const notes = this.root.querySelector(".notes");
    if (!notes) return;
    const note = el(
      "p",
      {},
      sentence,
      el("button", { type: "button", "aria-label": "Close this note", onclick: () => note.remove() }, "×"),
    );
    notes.append(note);
  }

  private head(): HTMLElement {
    const { facts } = this;
    const what = `${several(facts.rows, facts.noun)}, a code of ${several(facts.code_size, "number")}`;
    const button = (name: "help" | "theme", label: string, act: () => void) =>
      el("button", { type: "button", class: "flat", "aria-label": label, title: label, onclick: act }, icon(name));
    return el(
      "header",
      {},
      el("h1", {}, facts.title),
      el("p", { class: "what" }, what),
      el("label", { class: "by" }, el("span", {}, "colour by"), this.legend.choice),
      button("help", "What hands and keys do", () => showKeys(this.root)),
      button("theme", "Light or dark", () => this.themes.turn()),
    );
  }

  private tools(): HTMLElement {
    const tool = (name: Tool, label: string) => [name, label, icon(name)] as const;
    const act = (name: "plus" | "minus" | "fit", label: string, go: () => void) =>
      el("button", { type: "button", "aria-label": label, title: label, onclick: go }, icon(name));
    const { map } = this;
    return el(
      "div",
      { class: "tools" },
      choice(
        "Tool",
        [tool("pan", "Move the map"), tool("lasso", "Draw around rows"), tool("decode", "Drag the decoder")],
        "pan",
        (name) => {
          map.use(name);
        },
      ),
      el(
        "div",
        { class: "choice", role: "group", "aria-label": "Zoom" },
        act("plus", "Zoom in", () => map.zoom(1.5)),
        act("minus", "Zoom out", () => map.zoom(1 / 1.5)),
        act("fit", "Show all", () => map.fit()),
      ),
    );
  }
}

function axes({ map }: Facts): HTMLElement[] {
  return [
    el("p", { class: "axis across" }, map.axes[0]),
    el("p", { class: "axis up" }, map.axes[1]),
    el("div", { class: "notes", role: "status" }),
  ];
}

/** One colour for all points, before it is known what colours them. */
function plainly(n: number, level: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array(n).fill((0xff000000 | (level << 16) | (level << 8) | level) >>> 0).buffer);
}
