import { describe, expect, it } from "vitest";
import { blend, CATEGORIES, colours, ramp, rgb } from "../src/map/palette";

type Three = [number, number, number];

/** What protanopes, deuteranopes and tritanopes see, of linear RGB (Machado 2009). */
const EYES: Record<string, Three[]> = {
  all: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protan: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deutan: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritan: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

const dot = (a: Three, b: Three) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const times = (matrix: Three[], v: Three) => matrix.map((row) => dot(row, v)) as Three;
const linear = (hex: string) =>
  rgb(hex).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4)) as Three;

/** Oklab (Ottosson 2020), in which equal distances look alike. */
function oklab(v: Three): Three {
  const lms = times(
    [
      [0.4122214708, 0.5363325363, 0.0514459929],
      [0.2119034982, 0.6806995451, 0.1073969566],
      [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    v.map((c) => Math.max(0, c)) as Three,
  ).map(Math.cbrt) as Three;
  return times(
    [
      [0.2104542553, 0.793617785, -0.0040720468],
      [1.9779984951, -2.428592205, 0.4505937099],
      [0.0259040371, 0.7827717662, -0.808675766],
    ],
    lms,
  );
}

const light = (v: Three) => dot([0.2126, 0.7152, 0.0722], v);
const contrast = (a: string, b: string) => {
  const [low, high] = [light(linear(a)), light(linear(b))].sort((p, q) => p - q) as [number, number];
  return (high + 0.05) / (low + 0.05);
};

describe("the colours of groups", () => {
  for (const [eyes, matrix] of Object.entries(EYES))
    it(`are told apart by eyes: ${eyes}`, () => {
      const seen = CATEGORIES.map((hex) => oklab(times(matrix, linear(hex))));
      for (let i = 0; i < seen.length; i++)
        for (let j = 0; j < i; j++) {
          const [a, b] = [seen[i] as Three, seen[j] as Three];
          expect(Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2])).toBeGreaterThan(eyes === "tritan" ? 0.07 : 0.09);
        }
    });

  it("stand out from the paper of both themes", () => {
    for (const hex of CATEGORIES) {
      expect(contrast(hex, "#ffffff")).toBeGreaterThan(1.7);
      expect(contrast(hex, "#12171a")).toBeGreaterThan(2.2);
    }
  });
});

describe("the scale of numbers", () => {
  it("goes from its first stop to its last and no further", () => {
    for (const theme of ["light", "dark"] as const) {
      const stops = ramp(theme);
      expect(blend(theme, 0)).toEqual(rgb(stops[0] as string));
      expect(blend(theme, 0.5)).toEqual(rgb(stops[1] as string));
      expect(blend(theme, 7)).toEqual(rgb(stops[2] as string));
    }
  });

  it("paints gaps grey, and groups by their place", () => {
    const found = colours(Float64Array.of(1, Number.NaN, 0), true, [0, 1], "light");
    expect([...found.subarray(0, 3)]).toEqual(rgb(CATEGORIES[1] as string));
    expect([...found.subarray(4, 7)]).toEqual(rgb("#9aa3a8"));
    expect([...found.subarray(8, 12)]).toEqual([...rgb(CATEGORIES[0] as string), 255]);
  });
});
