import { el, svg } from "./dom";
import { cell } from "./format";
import type { Preview } from "./types";

/** Show a sample: a picture whose pixels stay square, a curve, or its cells. */
export function shown(preview: Preview, label: string, beside?: Preview | null): HTMLElement {
  if (preview.image) return picture(preview.image, label);
  if (preview.curve) return curve(preview.curve, label, beside?.curve);
  return cells(preview.cells ?? [], label);
}

/** Change what is shown without making the element anew, where that can be. */
export function replaceShown(holder: HTMLElement, preview: Preview, label: string, beside?: Preview | null): void {
  const there = holder.firstElementChild;
  if (preview.image && there instanceof HTMLCanvasElement) draw(there, preview.image);
  else holder.replaceChildren(shown(preview, label, beside));
}

type Image = NonNullable<Preview["image"]>;

function picture(image: Image, label: string): HTMLCanvasElement {
  const canvas = el("canvas", { class: "picture", role: "img", "aria-label": label });
  draw(canvas, image);
  return canvas;
}

function draw(canvas: HTMLCanvasElement, image: Image): void {
  const { width, height, channels } = image;
  const bytes = atob(image.pixels);
  const data = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = bytes.charCodeAt(channels === 1 ? i : channels * i + c);
    data.data[4 * i + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")?.putImageData(data, 0, 0);
}

type Curve = (number | null)[][];
const [WIDE, HIGH] = [200, 90];

function curve(channels: Curve, label: string, beside?: Curve): HTMLElement {
  const every = [...channels, ...(beside ?? [])].flat().filter((value): value is number => value !== null);
  const low = Math.min(...every);
  const high = Math.max(...every);
  const lines = [
    ...(beside ?? []).map((each) => [each, "pale"] as const),
    ...channels.map((each) => [each, ""] as const),
  ];
  const drawing = svg("svg", {
    viewBox: `0 0 ${WIDE} ${HIGH}`,
    class: "curve",
    role: "img",
    "aria-label": label,
    preserveAspectRatio: "none",
  });
  lines.forEach(([values, kind], place) => {
    const channel = beside ? place % channels.length : place;
    drawing.append(svg("path", { d: path(values, low, high), class: `line c${channel % 4} ${kind}` }));
  });
  const holder = el("div", { class: "curve-holder", title: `${cell(low)} to ${cell(high)}` });
  holder.append(drawing);
  return holder;
}

function path(values: (number | null)[], low: number, high: number): string {
  const across = WIDE / Math.max(1, values.length - 1);
  const up = (HIGH - 6) / (high - low || 1);
  let isOpen = false;
  const steps = values.map((value, i) => {
    if (value === null) {
      isOpen = false;
      return "";
    }
    const step = `${isOpen ? "L" : "M"}${(i * across).toFixed(1)} ${(HIGH - 3 - (value - low) * up).toFixed(1)}`;
    isOpen = true;
    return step;
  });
  return steps.join("");
}

function cells(list: [string, Parameters<typeof cell>[0]][], label: string): HTMLElement {
  const rows = list.map(([name, value]) =>
    el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: value === null ? "gap" : "" }, cell(value))),
  );
  return el("table", { class: "cells", "aria-label": label }, el("tbody", {}, ...rows));
}
