import { el } from "../dom";
import { type Camera, fitted, type Point, panned, toMap, toScreen, zoomed } from "./camera";
import { Grid } from "./grid";
import { type Painter, painterFor } from "./painters";

export type Tool = "pan" | "lasso" | "decode";

/** What the map tells who listens. */
export interface MapEvents {
  hover: (row: number, at: Point) => void;
  pick: (row: number, isSecond: boolean) => void;
  lasso: (rows: Uint32Array) => void;
  probe: (at: Point) => void;
}

/** What is drawn above the points. */
export interface Marks {
  picked: number;
  hovered: number;
  ends: [number, number];
  path: Point[];
  near: number[];
  /** Where the probe is; null where there is none. */
  probe: Point | null;
}

const REACH = 12;
/** A frame that is waited for longer than so many milliseconds is slow; so many points are not. */
const SLOW = 70;
const SWIFT = 80_000;
const MOST_THINNED = 31;
/** A hand that has not moved for so many milliseconds rests. */
const REST = 200;

/** The map: points, what is marked among them, and what hands and keys do to it. */
export class MapView {
  readonly element: HTMLElement;
  readonly painter: Painter;
  readonly marks: Marks = { picked: -1, hovered: -1, ends: [-1, -1], path: [], near: [], probe: null };
  count = 0;
  /** Every how many-th point is drawn. */
  stride = 1;
  private tool: Tool = "pan";
  private camera: Camera = { x: 0, y: 0, scale: 1, width: 1, height: 1 };
  private x: Float32Array = new Float32Array();
  private y: Float32Array = new Float32Array();
  private grid = new Grid(this.x, this.y);
  private rgba = new Uint8Array(0);
  private isDimmed: Uint8Array<ArrayBuffer> | null = null;
  private readonly canvas = el("canvas", { class: "points" });
  private readonly overlay = el("canvas", { class: "overlay" });
  private readonly probe = el("button", {
    type: "button",
    class: "probe",
    hidden: true,
    "aria-label": "Probe: the decoder draws what stands here. Arrow keys move it.",
  });
  private readonly pointers = new Map<number, Point>();
  private drawn: Point[] = [];
  private pressedAt: Point | null = null;
  private hasMoved = false;
  private pending = 0;
  private home = 1;
  private settling = 0;
  private isGliding = false;
  /** Every how many-th point is drawn while the map moves. */
  private thinned = 1;

  constructor(private readonly on: MapEvents) {
    this.element = el(
      "div",
      {
        class: "map",
        tabIndex: 0,
        role: "application",
        "aria-label":
          "Map of the codes. Arrow keys pan, plus and minus zoom, 0 shows all, J and K step through the points.",
      },
      this.canvas,
      this.overlay,
      this.probe,
    );
    this.painter = painterFor(this.canvas);
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  show(x: Float32Array, y: Float32Array): void {
    this.resize();
    this.count = x.length;
    this.x = x;
    this.y = y;
    this.stride = Math.max(1, Math.ceil(this.count / this.painter.most));
    this.grid = new Grid(x, y, this.stride);
    this.painter.points(x, y, this.stride);
    this.fit();
  }

  paint(rgba: Uint8Array<ArrayBuffer>): void {
    this.rgba = rgba;
    this.shade();
  }

  /** Keep some points bright and make all others pale; null brings all back. */
  highlight(isBright: ((row: number) => boolean) | null): void {
    this.isDimmed = null;
    if (isBright) {
      this.isDimmed = new Uint8Array(this.count);
      for (let i = 0; i < this.count; i++) this.isDimmed[i] = isBright(i) ? 0 : 1;
    }
    this.shade();
  }

  fit(): void {
    this.camera = fitted(this.x, this.y, this.camera.width, this.camera.height);
    this.home = this.camera.scale;
    this.redraw();
  }

  zoom(factor: number, at: Point = [this.camera.width / 2, this.camera.height / 2]): void {
    this.camera = zoomed(this.camera, factor, ...at);
    this.glide();
  }

  /** Bring a point into view, where it is not. */
  reveal(row: number): void {
    const [px, py] = this.screen(row);
    const { width, height } = this.camera;
    if (px > 0 && py > 0 && px < width && py < height) return;
    this.camera = { ...this.camera, x: this.x[row] ?? 0, y: this.y[row] ?? 0 };
    this.redraw();
  }

  screen(row: number): Point {
    return toScreen(this.camera, this.x[row] ?? 0, this.y[row] ?? 0);
  }

  place(row: number): Point {
    return [this.x[row] ?? 0, this.y[row] ?? 0];
  }

  toScreen(at: Point): Point {
    return toScreen(this.camera, ...at);
  }

  use(tool: Tool): void {
    this.tool = tool;
    this.element.dataset.tool = tool;
  }

  redraw(): void {
    if (this.pending) return;
    const asked = performance.now();
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      const waited = performance.now() - asked;
      if (this.isGliding && waited > SLOW) this.thinned = Math.min(MOST_THINNED, Math.ceil(this.count / SWIFT));
      this.draw();
      if (this.isGliding) this.rest();
    });
  }

  /** Redraw while a hand moves the map: fewer points, where all of them take too long, until it rests. */
  private glide(): void {
    this.isGliding = true;
    clearTimeout(this.settling); // it begins to rest when this is drawn
    this.redraw();
  }

  private rest(): void {
    clearTimeout(this.settling);
    this.settling = window.setTimeout(() => {
      this.isGliding = false;
      if (this.thinned > 1) this.redraw();
    }, REST);
  }

  private shade(): void {
    if (!this.rgba.length) return;
    const rgba = this.rgba.slice(0, 4 * this.count);
    if (this.isDimmed) for (let i = 0; i < this.count; i++) rgba[4 * i + 3] = this.isDimmed[i] ? 26 : 255;
    this.painter.colours(rgba);
    this.redraw();
  }

  private resize(): void {
    const { width, height } = this.element.getBoundingClientRect();
    if (!width || !height || (width === this.camera.width && height === this.camera.height)) return;
    const pixels = Math.min(2, window.devicePixelRatio || 1);
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = Math.round(width * pixels);
      canvas.height = Math.round(height * pixels);
    }
    const isFirst = this.camera.width <= 1;
    const factor = isFirst ? 1 : Math.min(width / this.camera.width, height / this.camera.height);
    this.camera = { ...this.camera, width, height, scale: this.camera.scale * factor };
    this.home *= factor;
    if (isFirst && this.count) this.fit();
    this.draw();
  }

  private draw(): void {
    if (this.camera.width <= 1) return; // it is not on the page yet: points would be as large as all of it
    const size = this.size();
    const every = this.isGliding ? this.thinned : 1;
    this.painter.draw(this.camera, size, this.count > 50_000 ? 0.55 : this.count > 5000 ? 0.75 : 0.9, every);
    this.drawMarks(size);
  }

  /** Few points are drawn large, many small; they grow a little with the zoom. */
  private size(): number {
    const base = Math.max(1.6, Math.min(8, 22 / Math.max(1, this.count) ** 0.16 - 1.2));
    return Math.min(14, base * (this.camera.scale / this.home) ** 0.3);
  }

  private drawMarks(size: number): void {
    const context = this.overlay.getContext("2d") as CanvasRenderingContext2D;
    const pixels = this.overlay.width / Math.max(1, this.camera.width);
    const style = getComputedStyle(this.element);
    const [ink, accent, paper] = ["--ink", "--accent", "--paper"].map((name) => style.getPropertyValue(name).trim());
    context.setTransform(pixels, 0, 0, pixels, 0, 0);
    context.clearRect(0, 0, this.camera.width, this.camera.height);
    const ring = (row: number, radius: number, colour: string | undefined, width: number) => {
      if (row < 0 || row >= this.count) return;
      context.beginPath();
      context.arc(...this.screen(row), radius, 0, 2 * Math.PI);
      context.strokeStyle = paper ?? "";
      context.lineWidth = width + 2.5;
      context.stroke();
      context.strokeStyle = colour ?? "";
      context.lineWidth = width;
      context.stroke();
    };
    const { marks } = this;
    if (marks.path.length > 1) {
      context.beginPath();
      for (const at of marks.path) context.lineTo(...this.toScreen(at));
      context.strokeStyle = accent ?? "";
      context.lineWidth = 2;
      context.stroke();
    }
    for (const row of marks.near) ring(row, size / 2 + 3, accent, 1.5);
    for (const row of marks.ends) ring(row, size / 2 + 5, accent, 2.5);
    ring(marks.hovered, size / 2 + 3, ink, 1.5);
    ring(marks.picked, size / 2 + 4, ink, 2.5);
    if (this.drawn.length > 1) {
      context.beginPath();
      for (const at of this.drawn) context.lineTo(...at);
      context.closePath();
      context.strokeStyle = accent ?? "";
      context.lineWidth = 1.5;
      context.setLineDash([5, 4]);
      context.stroke();
      context.setLineDash([]);
    }
    this.probe.hidden = marks.probe === null;
    if (marks.probe) {
      const [px, py] = this.toScreen(marks.probe);
      this.probe.style.transform = `translate(${px}px, ${py}px)`;
    }
  }

  // -- hands and keys -----------------------------------------------------------------------------------------------

  private listen(): void {
    const { element } = this;
    element.addEventListener("pointerdown", (event) => this.press(event));
    element.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"] as const)
      element.addEventListener(name, (event) => this.release(event));
    element.addEventListener("pointerleave", () => this.hover(-1, [0, 0]));
    element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), this.at(event));
      },
      { passive: false },
    );
    element.addEventListener("dblclick", () => this.fit());
    element.addEventListener("keydown", (event) => this.key(event));
  }

  private at(event: PointerEvent | WheelEvent): Point {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  private press(event: PointerEvent): void {
    if (event.button !== 0) return;
    const at = this.at(event);
    this.pointers.set(event.pointerId, at);
    this.element.setPointerCapture(event.pointerId);
    this.pressedAt = at;
    this.hasMoved = false;
    this.isProbing = event.target === this.probe || (this.tool === "decode" && !event.shiftKey);
    this.isDrawing = !this.isProbing && (this.tool === "lasso" || event.altKey);
    if (this.tool === "decode" && event.target !== this.probe && !event.shiftKey) this.moveProbe(at);
  }

  private isProbing = false;
  private isDrawing = false;

  private move(event: PointerEvent): void {
    const at = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.target !== this.probe) this.hover(this.under(at), at);
      return;
    }
    const [dx, dy] = [at[0] - before[0], at[1] - before[1]];
    if (this.pressedAt && Math.hypot(at[0] - this.pressedAt[0], at[1] - this.pressedAt[1]) > 4) this.hasMoved = true;
    if (!this.hasMoved) return;
    if (this.pointers.size === 2) this.pinch(event.pointerId, at, before);
    else if (this.isProbing) this.moveProbe(at);
    else if (this.isDrawing) this.drawn.push(at);
    else this.camera = panned(this.camera, dx, dy);
    this.pointers.set(event.pointerId, at);
    this.hover(-1, at);
    this.glide();
  }

  private pinch(id: number, at: Point, before: Point): void {
    const other = [...this.pointers].find(([each]) => each !== id)?.[1] ?? at;
    const apart = (a: Point) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
    this.camera = panned(this.camera, (at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    this.camera = zoomed(this.camera, apart(at) / apart(before), (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
  }

  private release(event: PointerEvent): void {
    if (!this.pointers.delete(event.pointerId)) return;
    const at = this.at(event);
    if (this.isDrawing && this.drawn.length > 2) {
      const polygon = this.drawn.map(([px, py]) => toMap(this.camera, px, py));
      this.on.lasso(this.grid.inside(polygon));
    } else if (!this.hasMoved && !this.isProbing && event.type === "pointerup") {
      this.on.pick(this.under(at), event.shiftKey);
    }
    this.drawn = [];
    this.redraw();
  }

  private under(at: Point): number {
    return this.grid.nearest(...toMap(this.camera, ...at), REACH / this.camera.scale);
  }

  private hover(row: number, at: Point): void {
    if (row === this.marks.hovered && row < 0) return;
    this.marks.hovered = row;
    this.on.hover(row, at);
    this.redraw();
  }

  private moveProbe(at: Point): void {
    this.marks.probe = toMap(this.camera, ...at);
    this.on.probe(this.marks.probe);
    this.redraw();
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 60 : 15;
    const moves: Record<string, Point> = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    };
    const move = moves[event.key];
    if (move && (event.target === this.probe || this.tool === "decode")) {
      const [px, py] = this.marks.probe
        ? this.toScreen(this.marks.probe)
        : [this.camera.width / 2, this.camera.height / 2];
      this.moveProbe([px + move[0], py + move[1]]);
    } else if (move) {
      this.camera = panned(this.camera, -2 * move[0], -2 * move[1]);
      this.redraw();
    } else if (event.key === "+" || event.key === "=") this.zoom(1.3);
    else if (event.key === "-") this.zoom(1 / 1.3);
    else if (event.key === "0") this.fit();
    else if (event.key === "j" || event.key === "k") {
      const next = event.key === "j" ? this.marks.picked + 1 : Math.max(this.marks.picked, 0) - 1;
      this.on.pick((next + this.count) % this.count, false);
    } else return;
    event.preventDefault();
  }
}
