/** One answer of whoever computes. */
export interface Reply {
  status: number;
  bytes: ArrayBuffer;
  /** What a file in the answer is to be called. */
  name: string | null;
}

/** The way to whoever computes: HTTP on the page, the kernel in a notebook. It throws where nobody answers. */
export interface Wire {
  send(path: string, key: string, body?: string | Blob): Promise<Reply>;
  isThere(): Promise<boolean>;
}

export class Http implements Wire {
  async send(path: string, key: string, body?: string | Blob): Promise<Reply> {
    const headers: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {};
    const answer = await fetch(`/${path}`, body === undefined ? { headers } : { method: "POST", body, headers });
    const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? null;
    return { status: answer.status, bytes: await answer.arrayBuffer(), name };
  }

  async isThere(): Promise<boolean> {
    return (await fetch("/healthz")).ok;
  }
}
