import type { Decoded, Facts, Flagged, Health, Legend, Near, Odd, Preview, Row, Walked } from "./types";

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
  private key = sessionStorage.getItem("isthmus-key") ?? "";
  private isThere = true;
  private readonly listeners: Listener[] = [];
  askKey: (wasWrong: boolean) => Promise<string> = () => Promise.resolve("");

  onChange(listener: Listener): void {
    this.listeners.push(listener);
  }

  facts = () => this.json<Facts>("explore");
  row = (row: number) => this.json<Row>(`explore/rows/${row}`);
  health = () => this.json<Health>("explore/health");
  legend = (name: string) => this.json<Legend>("explore/colours", { name });
  decode = (code: ArrayLike<number>) => this.json<Decoded>("explore/decode", { codes: [Array.from(code)] });
  place = (point: [number, number], row: number | null) => this.json<Decoded>("explore/place", { point, row });
  shown = (rows: number[]) => this.json<{ shown: Preview[] }>("explore/shown", { rows });
  sample = (n: number, seed: number) => this.json<{ shown: Preview[] }>("explore/sample", { n, seed });
  odd = () => this.json<Odd>("explore/odd", { threshold: null });
  flagged = (threshold: number) => this.json<Flagged>("explore/odd", { threshold });
  near = (row: number, k: number) => this.json<Near>("explore/neighbours", { row, codes: null, k });
  nearCode = (code: ArrayLike<number>, k: number) =>
    this.json<Near>("explore/neighbours", { row: null, codes: [Array.from(code)], k });
  walk = (start: number, end: number, steps: number, path: string) =>
    this.json<Walked>("explore/walk", { start, end, steps, path });

  async kept(kept: { seed: number; n: number; place: number }[]): Promise<{ blob: Blob; name: string }> {
    const answer = await this.ask("explore/kept", JSON.stringify({ kept }));
    const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1];
    return { blob: await answer.blob(), name: name ?? "samples" };
  }

  async search(file: File, k: number): Promise<Near> {
    const answer = await this.ask(`explore/search?name=${encodeURIComponent(file.name)}&k=${k}`, file);
    return (await answer.json()) as Near;
  }

  async points(): Promise<{ x: Float32Array; y: Float32Array }> {
    const buffer = await (await this.ask("explore/points")).arrayBuffer();
    const both = new Float32Array(buffer);
    return { x: both.subarray(0, both.length / 2), y: both.subarray(both.length / 2) };
  }

  async values(name: string): Promise<Float64Array> {
    return new Float64Array(await (await this.ask("explore/values", JSON.stringify({ name }))).arrayBuffer());
  }

  private async json<T>(path: string, body?: object): Promise<T> {
    const answer = await this.ask(path, body && JSON.stringify(body));
    return (await answer.json()) as T;
  }

  private async ask(path: string, body?: BodyInit): Promise<Response> {
    for (let tries = 0; ; tries++) {
      const answer = await this.sent(path, body);
      if (answer.ok) return answer;
      if (answer.status === 401) {
        this.key = await this.askKey(tries > 0);
        sessionStorage.setItem("isthmus-key", this.key);
        continue;
      }
      const said = (await answer.json().catch(() => null)) as { error?: string } | null;
      throw new Refusal(answer.status, said?.error ?? `the server answered ${answer.status}.`);
    }
  }

  private async sent(path: string, body?: BodyInit): Promise<Response> {
    const headers: Record<string, string> = this.key ? { authorization: `Bearer ${this.key}` } : {};
    try {
      const answer = await fetch(`/${path}`, body === undefined ? { headers } : { method: "POST", body, headers });
      this.say(true);
      return answer;
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
      await fetch("/healthz").then(
        (answer) => answer.ok && this.say(true),
        () => undefined,
      );
    }
  }
}
