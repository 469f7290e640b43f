import { describe, expect, it } from "vitest";
import { Grid, isInside } from "../src/map/grid";

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

const next = random(1);
const N = 4000;
const x = Float32Array.from({ length: N }, (_, i) => (i === 9 ? 50 : next() * 4 - 2));
const y = Float32Array.from({ length: N }, () => next() ** 3);

describe("the grid", () => {
  it("finds the nearest point that a look at all of them finds", () => {
    const grid = new Grid(x, y);
    for (let trial = 0; trial < 200; trial++) {
      const [px, py, radius] = [next() * 5 - 2.5, next() * 1.4 - 0.2, 0.05];
      let best = -1;
      let least = radius ** 2;
      for (let i = 0; i < N; i++) {
        const away = ((x[i] as number) - px) ** 2 + ((y[i] as number) - py) ** 2;
        if (away <= least) [best, least] = [i, away];
      }
      expect(grid.nearest(px, py, radius)).toBe(best);
    }
  });

  it("finds a point far outside of where nearly all lie", () => {
    expect(new Grid(x, y).nearest(50, y[9] as number, 0.1)).toBe(9);
  });

  it("finds the points inside a polygon", () => {
    const polygon: [number, number][] = [
      [-1, 0.1],
      [1.2, 0],
      [0.3, 0.9],
      [0, 0.3],
    ];
    const right: number[] = [];
    for (let i = 0; i < N; i++) if (isInside(polygon, x[i] as number, y[i] as number)) right.push(i);
    expect([...new Grid(x, y).inside(polygon)]).toEqual(right);
    expect(right.length).toBeGreaterThan(50);
  });

  it("of a stride finds only what is drawn", () => {
    const grid = new Grid(x, y, 7);
    expect(grid.nearest(x[7] as number, y[7] as number, 1e-6)).toBe(7);
    for (const row of grid.inside([
      [-9, -9],
      [99, -9],
      [99, 99],
      [-9, 99],
    ]))
      expect(row % 7).toBe(0);
  });

  it("knows inside from outside", () => {
    const square: [number, number][] = [
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 1],
    ];
    expect(isInside(square, 0.5, 0.5)).toBe(true);
    expect(isInside(square, 1.5, 0.5)).toBe(false);
  });
});
