import { complain, type Desk, figure, type Panel } from "../desk";
import { el, latest, svg } from "../dom";
import { count, number, percent, several } from "../format";
import type { Flagged, Odd as Judged } from "../types";

const [WIDE, HIGH] = [340, 120];
const LARGEST_PLAIN = 60;

/** Rows that do not belong: a threshold to drag, what it flags, and why. */
export class Odd implements Panel {
  readonly id = "odd";
  readonly title = "Odd ones";
  readonly element: HTMLElement;
  private judged: Judged | null = null;
  private scores: Float64Array | null = null;
  private threshold = 0;
  private isOpen = false;
  private isAsking = false;
  private readonly status = el("div", { role: "status" });
  private readonly chart = el("div", { class: "histogram" });
  private readonly figures = el("dl", { class: "figures" });
  private readonly list = el("ol", { class: "odd-list" });
  private readonly said = el("div", {});

  constructor(private readonly desk: Desk) {
    this.element = el(
      "div",
      {},
      el("h2", {}, "Rows that do not belong"),
      this.status,
      this.chart,
      this.figures,
      this.list,
      this.said,
    );
  }

  open(): void {
    this.isOpen = true;
    if (this.judged) this.brighten();
    else void this.load();
  }

  close(): void {
    this.isOpen = false;
    this.desk.map.highlight(null);
  }

  back(): void {
    if (this.isOpen && !this.judged) void this.load();
  }

  private async load(): Promise<void> {
    if (this.isAsking) return;
    this.isAsking = true;
    this.status.replaceChildren(el("p", { class: "aside busy" }, "Judging every row …"));
    try {
      const judged = await this.desk.api.odd();
      this.scores = await this.desk.api.values("anomaly score");
      this.judged = judged;
      this.threshold = judged.cut;
      this.status.replaceChildren();
      this.said.replaceChildren(
        el("h3", {}, "By the detector itself"),
        ...judged.sentences.map((each) => el("p", { class: "aside" }, each)),
      );
      this.show(judged);
      if (this.isOpen) this.brighten();
    } catch (error) {
      complain(this.status, error);
    } finally {
      this.isAsking = false;
    }
  }

  private move(threshold: number): void {
    this.threshold = threshold;
    this.drawChart();
    this.brighten();
    this.ask(threshold);
  }

  private readonly ask = latest<number>(async (threshold) => {
    try {
      this.show(await this.desk.api.flagged(threshold));
    } catch (error) {
      complain(this.status, error);
    }
  });

  private brighten(): void {
    const { scores, threshold } = this;
    if (!scores) return;
    const isAny = scores.some((score) => score > threshold);
    this.desk.map.highlight(isAny ? (row) => (scores[row] as number) > threshold : null);
  }

  private show(found: Flagged): void {
    const noun = this.judged?.noun ?? "row";
    this.figures.replaceChildren(
      figure("threshold", found.threshold, number(found.threshold)),
      figure("flagged", found.flagged, several(found.flagged, noun)),
      figure("false alarms", found.false_alarm_rate, `${percent(found.false_alarm_rate)} of normal ${noun}s`),
    );
    this.list.replaceChildren(
      ...found.rows.map((each) =>
        el(
          "li",
          { class: each.flag ? "flagged" : "" },
          el(
            "button",
            { type: "button", "data-row": each.row, onclick: () => this.desk.pick(each.row) },
            el("span", { class: "name" }, each.name),
            el("span", { class: "score", "data-value": each.anomaly_score }, number(each.anomaly_score)),
            el("span", { class: "p" }, `p ${number(each.p_value)}`),
          ),
          ...each.reasons.map((reason) => el("p", { class: "reason" }, reason)),
        ),
      ),
    );
    this.drawChart();
  }

  private drawChart(): void {
    const { judged } = this;
    if (!judged) return;
    const { counts, edges } = judged;
    const [low, high] = [edges[0] as number, edges.at(-1) as number];
    const most = Math.max(...counts);
    const isLog = most > LARGEST_PLAIN;
    const tall = (n: number) =>
      n ? Math.max(3, (isLog ? Math.log1p(n) / Math.log1p(most) : n / most) * (HIGH - 12)) : 0;
    const across = (score: number) => (WIDE * (score - low)) / (high - low);
    const at = Math.max(0, Math.min(WIDE, across(this.threshold)));
    const drawing = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH + 16}` });
    counts.forEach((n, i) => {
      const [left, right] = [across(edges[i] as number), across(edges[i + 1] as number)];
      const isOver = (left + right) / 2 > at;
      drawing.append(
        svg("rect", {
          x: left + 0.4,
          width: Math.max(0.5, right - left - 0.8),
          y: HIGH - tall(n),
          height: tall(n),
          rx: 1,
          class: isOver ? "bar over" : "bar",
        }),
      );
    });
    const handle = svg(
      "g",
      { class: "threshold", transform: `translate(${at} 0)` },
      svg("line", { y1: 0, y2: HIGH }),
      svg("circle", { cy: 6, r: 6 }),
    );
    const label = (x: number, text: string, anchor: string) => {
      const made = svg("text", { x, y: HIGH + 12, "text-anchor": anchor });
      made.textContent = text;
      return made;
    };
    drawing.append(
      handle,
      label(0, number(low), "start"),
      label(WIDE, `${number(high)}${isLog ? " (bars: log scale)" : ""}`, "end"),
    );
    if (!this.chart.firstElementChild) this.chart.append(this.slider(low, high));
    const slider = this.chart.firstElementChild as HTMLElement;
    slider.setAttribute("aria-valuenow", String(this.threshold));
    slider.setAttribute(
      "aria-valuetext",
      `${number(this.threshold)}, ${count(this.scores?.filter((s) => s > this.threshold).length ?? 0)} flagged`,
    );
    slider.replaceChildren(drawing);
  }

  private slider(low: number, high: number): HTMLElement {
    const holder = el("div", {
      class: "drag",
      role: "slider",
      tabIndex: 0,
      "aria-label": "Threshold",
      "aria-valuemin": low,
      "aria-valuemax": high,
      onkeydown: (event: KeyboardEvent) => {
        const step = ((high - low) / 100) * (event.shiftKey ? 5 : 1);
        const by = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step }[event.key];
        if (by === undefined) return;
        event.preventDefault();
        this.move(Math.max(low, Math.min(high, this.threshold + by)));
      },
      onpointerdown: (event: PointerEvent) => {
        holder.setPointerCapture(event.pointerId);
        drag(event);
      },
      onpointermove: (event: PointerEvent) => {
        if (holder.hasPointerCapture(event.pointerId)) drag(event);
      },
    });
    const drag = (event: PointerEvent) => {
      const box = holder.getBoundingClientRect();
      const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
      this.move(low + share * (high - low));
    };
    return holder;
  }
}
