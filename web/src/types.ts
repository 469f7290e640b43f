/** What the server answers. Names are those of `isthmus.apps.exploring`. */

export interface Facts {
  title: string;
  kind: "table" | "array" | "images" | "volumes" | "series";
  noun: string;
  rows: number;
  has_data: boolean;
  code_size: number;
  /** Which numbers of the code have a slider. */
  sliders: number[];
  mean: number[];
  low: number[];
  high: number[];
  map: { method: string; axes: [string, string] };
  colours: string[];
  notes: string[];
  takes_files: boolean;
  drawn_from: string;
}

export interface Legend {
  name: string;
  groups: string[];
  bounds?: [number, number];
}

export type Cell = string | number | boolean | null;

export interface Preview {
  image?: { width: number; height: number; channels: number; pixels: string };
  curve?: (number | null)[][];
  cells?: [string, Cell][];
}

export interface Row {
  row: number;
  name: string;
  code: number[];
  point: [number, number];
  error: number | null;
  known: [string, Cell][];
  cells: { name: string; observed: Cell; reconstructed: Cell; share: number }[];
  original: Preview | null;
  rebuilt: Preview;
}

export interface Decoded {
  shown: Preview[];
  codes: number[][];
  points: [number, number][];
}

export interface Walked {
  shown: Preview[];
  points: [number, number][];
  places: number[];
}

export interface Near {
  rows: number[];
  distances: number[];
  metric: string;
  shown: Preview[];
  asked?: Preview;
}

export interface OddRow {
  row: number;
  name: string;
  anomaly_score: number;
  p_value: number;
  flag: boolean;
  reasons: string[];
}

export interface Flagged {
  threshold: number;
  flagged: number;
  false_alarm_rate: number;
  rows: OddRow[];
}

export interface Odd extends Flagged {
  counts: number[];
  edges: number[];
  cut: number;
  noun: string;
  sentences: string[];
}

export interface Finding {
  title: string;
  verdict: "good" | "note" | "warning";
  sentence: string;
  advice: string | null;
}

export interface Health {
  title: string;
  summary: string;
  scope: string;
  scores: Record<"model" | "pca" | "mean", { squared_error: number; explained: number | null }> & { rows: number };
  health: Finding[];
  settings: Record<string, unknown>;
  data: { notes: string[] };
}
