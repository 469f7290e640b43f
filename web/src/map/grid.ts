import { type Point, reach } from "./camera";

const SIDE = 512;

/** Points sorted into the squares of a grid, so that those near a place are found without looking at all; of a stride, every so many-th. */
export class Grid {
  private readonly starts: Uint32Array;
  private readonly order: Uint32Array;
  private readonly side: number;
  private readonly left: number;
  private readonly bottom: number;
  private readonly step: number;

  constructor(
    private readonly x: Float32Array,
    private readonly y: Float32Array,
    stride = 1,
  ) {
    this.side = Math.max(1, Math.min(SIDE, Math.ceil(Math.sqrt(x.length / stride / 4))));
    const [left, right] = reach(x);
    const [bottom, top] = reach(y);
    this.left = left;
    this.bottom = bottom;
    this.step = Math.max(right - left, top - bottom, 1e-12) / this.side;
    const cells = new Uint32Array(x.length);
    this.starts = new Uint32Array(this.side * this.side + 1);
    for (let i = 0; i < x.length; i += stride) {
      const cell = this.row(y[i] as number) * this.side + this.column(x[i] as number);
      cells[i] = cell;
      this.starts[cell + 1] = (this.starts[cell + 1] as number) + 1;
    }
    for (let i = 0; i < this.side * this.side; i++)
      this.starts[i + 1] = (this.starts[i + 1] as number) + (this.starts[i] as number);
    const next = this.starts.slice();
    this.order = new Uint32Array(Math.ceil(x.length / stride));
    for (let i = 0; i < x.length; i += stride) {
      const cell = cells[i] as number;
      this.order[next[cell] as number] = i;
      next[cell] = (next[cell] as number) + 1;
    }
  }

  /** The point nearest to a place, if one lies within the radius; -1 if none does. */
  nearest(x: number, y: number, radius: number): number {
    let best = -1;
    let least = radius * radius;
    this.visit(x - radius, y - radius, x + radius, y + radius, (i) => {
      const squared = ((this.x[i] as number) - x) ** 2 + ((this.y[i] as number) - y) ** 2;
      if (squared <= least) {
        least = squared;
        best = i;
      }
    });
    return best;
  }

  /** The points inside a polygon, in order. */
  inside(polygon: Point[]): Uint32Array {
    const xs = polygon.map(([x]) => x);
    const ys = polygon.map(([, y]) => y);
    const found: number[] = [];
    this.visit(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), (i) => {
      if (isInside(polygon, this.x[i] as number, this.y[i] as number)) found.push(i);
    });
    return Uint32Array.from(found).sort();
  }

  private visit(left: number, bottom: number, right: number, top: number, see: (i: number) => void): void {
    const [from, to] = [this.column(left), this.column(right)];
    for (let row = this.row(bottom); row <= this.row(top); row++) {
      const start = this.starts[row * this.side + from] as number;
      const end = this.starts[row * this.side + to + 1] as number;
      for (let place = start; place < end; place++) see(this.order[place] as number);
    }
  }

  private column(x: number): number {
    return Math.max(0, Math.min(this.side - 1, Math.floor((x - this.left) / this.step)));
  }

  private row(y: number): number {
    return Math.max(0, Math.min(this.side - 1, Math.floor((y - this.bottom) / this.step)));
  }
}

/** Does a place lie inside a polygon? By how often a ray to the right crosses its edges. */
export function isInside(polygon: Point[], x: number, y: number): boolean {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i] as Point;
    const [xj, yj] = polygon[j] as Point;
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}
