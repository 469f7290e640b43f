import type { Api } from "./api";
import { Gone } from "./api";
import { el } from "./dom";
import type { MapView } from "./map/view";
import type { Facts, Row } from "./types";

/** What every panel may reach. */
export interface Desk {
  readonly api: Api;
  readonly facts: Facts;
  readonly map: MapView;
  /** The row that is picked, with all that is known of it. */
  picked: Row | null;
  pick(row: number): void;
  open(panel: string): void;
}

/** One way to look at the model: a tab, and what it shows. */
export interface Panel {
  readonly id: string;
  readonly title: string;
  readonly element: HTMLElement;
  /** It comes into view. */
  open?(): void;
  /** It goes out of view. */
  close?(): void;
  picked?(row: Row): void;
  /** The server is back. */
  back?(): void;
}

/** Say what went wrong, where it went wrong; that the server is gone is said above all. */
export function complain(holder: HTMLElement, error: unknown): void {
  if (error instanceof Gone) return;
  const sentence = error instanceof Error ? error.message : String(error);
  holder.replaceChildren(
    el("p", { class: "refusal", role: "alert" }, sentence.charAt(0).toUpperCase() + sentence.slice(1)),
  );
}

/** A figure that can be read off the page to its last digit. */
export function figure(name: string, value: number | null, text: string): HTMLElement {
  return el(
    "div",
    { class: "figure" },
    el("dt", {}, name),
    el("dd", { "data-figure": name, "data-value": value === null ? "" : String(value) }, text),
  );
}
