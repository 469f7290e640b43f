/** Where the map is seen from: a place in the middle of the view, and how many pixels one unit takes, on both axes. */
export interface Camera {
  x: number;
  y: number;
  scale: number;
  width: number;
  height: number;
}

export type Point = [number, number];

export function toScreen(camera: Camera, x: number, y: number): Point {
  return [camera.width / 2 + (x - camera.x) * camera.scale, camera.height / 2 - (y - camera.y) * camera.scale];
}

export function toMap(camera: Camera, px: number, py: number): Point {
  return [camera.x + (px - camera.width / 2) / camera.scale, camera.y - (py - camera.height / 2) / camera.scale];
}

/** Zoom by a factor so that what lies under a pixel stays there. */
export function zoomed(camera: Camera, factor: number, px: number, py: number): Camera {
  const [x, y] = toMap(camera, px, py);
  const scale = camera.scale * factor;
  return { ...camera, scale, x: x - (px - camera.width / 2) / scale, y: y + (py - camera.height / 2) / scale };
}

export function panned(camera: Camera, dx: number, dy: number): Camera {
  return { ...camera, x: camera.x - dx / camera.scale, y: camera.y + dy / camera.scale };
}

const FEW = 20;

/** Show nearly all points: what lies far out on its own must not squeeze all others into a corner. */
export function fitted(x: Float32Array, y: Float32Array, width: number, height: number): Camera {
  const margin = x.length < FEW ? Math.min(width, height) / 4 : 36; // a few points would stand in the corners
  const [left, right] = reach(x);
  const [bottom, top] = reach(y);
  const across = Math.max(right - left, 1e-9);
  const up = Math.max(top - bottom, 1e-9);
  const fits = Math.min((width - 2 * margin) / across, (height - 2 * margin) / up);
  const scale = across <= 1e-9 && up <= 1e-9 ? 1 : Math.max(fits, 1e-9);
  return { x: (left + right) / 2, y: (bottom + top) / 2, scale, width, height };
}

/** The span of the values between the quantiles of 0.1 % and 99.9 %, judged by at most 20,000 of them. */
export function reach(values: Float32Array): Point {
  const step = Math.max(1, Math.floor(values.length / 20_000));
  const some = Float32Array.from({ length: Math.ceil(values.length / step) }, (_, i) => values[i * step] ?? 0).sort();
  const low = some[Math.floor(0.001 * (some.length - 1))] ?? 0;
  const high = some[Math.ceil(0.999 * (some.length - 1))] ?? 0;
  return [low, high];
}
