import type { Cell } from "./types";

/** Write a number with four significant digits. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 10_000 && size < 1e15) return count(Math.round(value));
  if (size < 1e-4 || size >= 1e15) return value.toExponential(2).replace("-", "−").replace("e−", "e-");
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

/** Write a whole number with its thousands set apart. */
export function count(value: number): string {
  return String(value)
    .replace(/\B(?=(\d{3})+(?!\d))/g, ",")
    .replace("-", "−");
}

/** Write a share so that 99.98 % does not read as 100 %. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return "–";
  if (share === 0 || share === 1) return `${100 * share}%`;
  return `${(100 * share).toFixed(Math.abs(share) >= 0.995 || Math.abs(share) < 0.001 ? 2 : 1)}%`;
}

/** Write the value of a cell as a reader would. */
export function cell(value: Cell | undefined): string {
  if (value === null || value === undefined) return "gap";
  if (typeof value === "number") return Number.isInteger(value) ? String(value).replace("-", "−") : number(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return value.length > 40 ? `${value.slice(0, 39)}…` : value;
}

/** Say how many of something there are. */
export function several(many: number, noun: string): string {
  return `${count(many)} ${noun}${many === 1 ? "" : "s"}`;
}
