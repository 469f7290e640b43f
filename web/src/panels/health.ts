import { complain, type Desk, figure, type Panel } from "../desk";
import { el } from "../dom";
import { number, percent } from "../format";
import type { Health as Facts } from "../types";

const RIVALS = { model: "this model", pca: "PCA", mean: "the mean" } as const;
const SIGNS = { good: "✓", note: "i", warning: "!" } as const;

/** How good the model is: what the report says. */
export class Health implements Panel {
  readonly id = "health";
  readonly title = "Health";
  readonly element = el("div", {}, el("h2", {}, "How good it is"));
  private readonly body = el("div", { role: "status" });
  private isLoaded = false;

  constructor(private readonly desk: Desk) {
    this.element.append(this.body);
  }

  open(): void {
    if (!this.isLoaded) void this.load();
  }

  back(): void {
    if (!this.isLoaded && this.body.childElementCount) void this.load();
  }

  private async load(): Promise<void> {
    this.body.replaceChildren(el("p", { class: "aside busy" }, "Examining the model …"));
    try {
      this.show(await this.desk.api.health());
      this.isLoaded = true;
    } catch (error) {
      complain(this.body, error);
    }
  }

  private show(facts: Facts): void {
    this.body.replaceChildren(
      el("p", {}, facts.summary),
      this.scores(facts),
      el(
        "ul",
        { class: "findings" },
        ...facts.health.map((each) =>
          el(
            "li",
            { class: each.verdict },
            el("span", { class: "sign", "aria-label": each.verdict }, SIGNS[each.verdict]),
            el(
              "div",
              {},
              el("b", {}, each.title),
              el("p", {}, each.sentence),
              each.advice ? el("p", { class: "aside" }, each.advice) : null,
            ),
          ),
        ),
      ),
      el("p", { class: "aside" }, facts.scope),
      ...facts.data.notes.map((note) => el("p", { class: "aside" }, note)),
    );
  }

  private scores({ scores }: Facts): HTMLElement {
    const worst = Math.max(...(["model", "pca", "mean"] as const).map((rival) => scores[rival].squared_error), 1e-30);
    const bars = (["model", "pca", "mean"] as const).map((rival) => {
      const bar = el("span", { class: `level ${rival}` });
      bar.style.width = `${Math.max(0.5, (100 * scores[rival].squared_error) / worst)}%`;
      return el(
        "div",
        { class: "rival" },
        el("span", { class: "name" }, RIVALS[rival]),
        el("span", { class: "track" }, bar),
        el(
          "span",
          { class: "value", "data-figure": `squared error of ${rival}`, "data-value": scores[rival].squared_error },
          number(scores[rival].squared_error),
        ),
      );
    });
    return el(
      "div",
      {},
      el(
        "dl",
        { class: "figures" },
        figure("explained", scores.model.explained, percent(scores.model.explained)),
        figure("by PCA", scores.pca.explained, percent(scores.pca.explained)),
      ),
      el("h3", {}, "Squared error"),
      el("div", { class: "rivals" }, ...bars),
    );
  }
}
