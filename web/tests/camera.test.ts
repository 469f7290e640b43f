import { describe, expect, it } from "vitest";
import { type Camera, fitted, panned, toMap, toScreen, zoomed } from "../src/map/camera";

const camera: Camera = { x: 2, y: -1, scale: 40, width: 800, height: 500 };

describe("the camera", () => {
  it("finds the way back from the screen to the map", () => {
    const [x, y] = toMap(camera, ...toScreen(camera, 3.25, 0.5));
    expect(x).toBeCloseTo(3.25, 12);
    expect(y).toBeCloseTo(0.5, 12);
  });

  it("keeps what lies under the pointer where it is while it zooms", () => {
    const before = toMap(camera, 123, 456);
    const after = toMap(zoomed(camera, 2.5, 123, 456), 123, 456);
    expect(after[0]).toBeCloseTo(before[0], 12);
    expect(after[1]).toBeCloseTo(before[1], 12);
  });

  it("moves the map by as many pixels as the hand", () => {
    const [before, after] = [toScreen(camera, 1, 1), toScreen(panned(camera, 30, -12), 1, 1)];
    expect(after[0] - before[0]).toBeCloseTo(30, 10);
    expect(after[1] - before[1]).toBeCloseTo(-12, 10);
  });

  it("shows all points within the margins", () => {
    const x = Float32Array.from({ length: 500 }, (_, i) => Math.sin(i) * 7 + 3);
    const y = Float32Array.from({ length: 500 }, (_, i) => Math.cos(3 * i));
    const found = fitted(x, y, 800, 500);
    for (let i = 0; i < 500; i++) {
      const [px, py] = toScreen(found, x[i] as number, y[i] as number);
      expect(px).toBeGreaterThan(30);
      expect(px).toBeLessThan(770);
      expect(py).toBeGreaterThan(30);
      expect(py).toBeLessThan(470);
    }
  });

  it("is not led astray by a point far out", () => {
    const x = Float32Array.from({ length: 5000 }, (_, i) => (i === 77 ? 1e6 : i / 5000));
    expect(fitted(x, x, 500, 500).scale).toBeGreaterThan(400);
  });

  it("stands still on points that are all the same, and on none", () => {
    for (const x of [new Float32Array(3).fill(4), new Float32Array()]) {
      const found = fitted(x, x, 500, 500);
      expect(Number.isFinite(found.scale) && Number.isFinite(found.x)).toBe(true);
    }
  });
});
