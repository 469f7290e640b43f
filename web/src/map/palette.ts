/**
 * Told apart on white and on near-black, by all eyes: no two are nearer than 0.09 in Oklab, as they are and as protanopes
 * and deuteranopes see them, nor than 0.07 as the few tritanopes do. The last is for what is left over.
 */
export const CATEGORIES = [
  "#1c9bf7",
  "#fe6a00",
  "#8254c4",
  "#f0bb4b",
  "#a03646",
  "#b3b2f9",
  "#81347c",
  "#cbaa89",
  "#e24130",
  "#8a9398",
];
const RAMPS = { light: ["#bcc7cd", "#d9a36b", "#c2540a"], dark: ["#3d4a52", "#b0793f", "#ffa65c"] };
const GAP = "#9aa3a8";

export type Theme = keyof typeof RAMPS;
type Rgb = [number, number, number];

export function rgb(hex: string): Rgb {
  const value = Number.parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** The stops of the scale of numbers, for a legend. */
export function ramp(theme: Theme): string[] {
  return RAMPS[theme];
}

/** The colour at a share of the scale; a share beyond 0 and 1 has the colour of the end. */
export function blend(theme: Theme, share: number): Rgb {
  const stops = RAMPS[theme].map(rgb);
  const place = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const below = Math.min(stops.length - 2, Math.floor(place));
  const [a, b] = [stops[below] as Rgb, stops[below + 1] as Rgb];
  const t = place - below;
  return [0, 1, 2].map((i) => Math.round((a[i] as number) * (1 - t) + (b[i] as number) * t)) as Rgb;
}

/** One RGBA colour a point, of groups by place, of numbers by where they lie between the bounds; NaN is grey. */
export function colours(
  values: Float64Array,
  isGrouped: boolean,
  bounds: [number, number],
  theme: Theme,
): Uint8Array<ArrayBuffer> {
  const table = isGrouped ? CATEGORIES.map(rgb) : Array.from({ length: 256 }, (_, i) => blend(theme, i / 255));
  const gap = rgb(GAP);
  const span = bounds[1] - bounds[0] || 1;
  const found = new Uint8Array(4 * values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    const place = isGrouped ? value : Math.max(0, Math.min(255, Math.round((255 * (value - bounds[0])) / span)));
    const colour = table[place] ?? gap;
    found[4 * i] = colour[0];
    found[4 * i + 1] = colour[1];
    found[4 * i + 2] = colour[2];
    found[4 * i + 3] = 255;
  }
  return found;
}
