import type { Decoded, Facts, Flagged, Health, Legend, Near, Odd, Preview, Row, Walked } from "./types";
import type { Reply, Wire } from "./wire";

/** An answer that is a refusal, in the one sentence of the server. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    sentence: string,
  ) {
    super(sentence);
  }
}

/** The server does not answer. */
export class Gone extends Error {}

type Listener = (isThere: boolean) => void;

/** Asks the server, tells who listens when it goes and comes back, and asks for the key where there is one. */
export class Api {
  private key = remembered("isthmus-key") ?? "";
  private isThere = true;
  private readonly listeners: Listener[] = [];
  askKey: (wasWrong: boolean) => Promise<string> = () => Promise.resolve("");

  constructor(private readonly wire: Wire) {}

  onChange(listener: Listener): void {
    this.listeners.push(listener);
  }

  facts = () => this.json<Facts>("explore");
  row = (row: number) => this.json<Row>(`explore/rows/${row}`);
  health = () => this.json<Health>("explore/health");
  legend = (name: string) => this.json<Legend>("explore/colours", { name });
  decode = (code: ArrayLike<number>) => this.json<Decoded>("explore/decode", { codes: [Array.from(code)] });
  place = (point: [number, number], row: number | null) => this.json<Decoded>("explore/place", { point, row });
  sample = (n: number, seed: number) => this.json<{ shown: Preview[] }>("explore/sample", { n, seed });
  odd = () => this.json<Odd>("explore/odd", { threshold: null });
  flagged = (threshold: number) => this.json<Flagged>("explore/odd", { threshold });
  near = (row: number, k: number) => this.json<Near>("explore/neighbours", { row, codes: null, k });
  nearCode = (code: ArrayLike<number>, k: number) =>
    this.json<Near>("explore/neighbours", { row: null, codes: [Array.from(code)], k });
  walk = (start: number, end: number, steps: number, path: string) =>
    this.json<Walked>("explore/walk", { start, end, steps, path });

  async kept(kept: { seed: number; n: number; place: number }[]): Promise<{ blob: Blob; name: string }> {
    const { bytes, name } = await this.ask("explore/kept", JSON.stringify({ kept }));
    return { blob: new Blob([bytes]), name: name ?? "samples" };
  }

  async search(file: File, k: number): Promise<Near> {
    return read(await this.ask(`explore/search?name=${encodeURIComponent(file.name)}&k=${k}`, file)) as Near;
  }

  async points(): Promise<{ x: Float32Array; y: Float32Array }> {
    const both = new Float32Array((await this.ask("explore/points")).bytes);
    return { x: both.subarray(0, both.length / 2), y: both.subarray(both.length / 2) };
  }

  async values(name: string): Promise<Float64Array> {
    return new Float64Array((await this.ask("explore/values", JSON.stringify({ name }))).bytes);
  }

  private async json<T>(path: string, body?: object): Promise<T> {
    return read(await this.ask(path, body && JSON.stringify(body))) as T;
  }

  private async ask(path: string, body?: string | Blob): Promise<Reply> {
    for (let tries = 0; ; tries++) {
      const reply = await this.sent(path, body);
      if (reply.status < 400) return reply;
      if (reply.status !== 401) throw new Refusal(reply.status, reason(reply));
      this.key = await this.askKey(tries > 0 || this.key !== "");
      remember("isthmus-key", this.key);
    }
  }

  private async sent(path: string, body?: string | Blob): Promise<Reply> {
    try {
      const reply = await this.wire.send(path, this.key, body);
      this.say(true);
      return reply;
    } catch {
      this.say(false);
      throw new Gone("The server does not answer.");
    }
  }

  private say(isThere: boolean): void {
    if (isThere === this.isThere) return;
    this.isThere = isThere;
    for (const listener of this.listeners) listener(isThere);
    if (!isThere) void this.waitForIt();
  }

  private async waitForIt(): Promise<void> {
    while (!this.isThere) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      if (await this.wire.isThere().catch(() => false)) this.say(true);
    }
  }
}

function read({ bytes }: Reply): unknown {
  return JSON.parse(new TextDecoder().decode(bytes));
}

function reason(reply: Reply): string {
  try {
    return (read(reply) as { error: string }).error;
  } catch {
    return `the server answered ${reply.status}.`;
  }
}

/** What the page may remember; a browser can forbid it, and an embedded page mostly does. */
export function remembered(name: string): string | null {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

export function remember(name: string, value: string): void {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // then it is asked for again
  }
}
