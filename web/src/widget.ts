import { mount } from "./app";
import type { Reply, Wire } from "./wire";

/** What anywidget hands over: the kernel's end of the widget. */
interface Model {
  get(name: "height"): number;
  send(content: object, callbacks?: undefined, buffers?: ArrayBuffer[]): void;
  on(event: "msg:custom", callback: (content: Content, buffers: DataView[]) => void): void;
  off(event: "msg:custom", callback: (content: Content, buffers: DataView[]) => void): void;
}

interface Content {
  id: number;
  status: number;
  name: string | null;
}

const PATIENCE = 600_000;

/** Asks the kernel; what it answers comes back as a message that bears the number of the question. */
class Kernel implements Wire {
  private asked = 0;
  private readonly waiting = new Map<number, (reply: Reply) => void>();

  constructor(private readonly model: Model) {
    model.on("msg:custom", this.hear);
  }

  close(): void {
    this.model.off("msg:custom", this.hear);
  }

  async send(path: string, _key: string, body?: string | Blob): Promise<Reply> {
    const id = this.asked++;
    const bytes = body === undefined ? [] : [await new Blob([body]).arrayBuffer()];
    return new Promise((resolve, reject) => {
      const giveUp = setTimeout(() => reject(new Error("the kernel does not answer")), PATIENCE);
      this.waiting.set(id, (reply) => {
        clearTimeout(giveUp);
        resolve(reply);
      });
      this.model.send({ id, path }, undefined, bytes);
    });
  }

  isThere(): Promise<boolean> {
    return this.send("explore", "").then((reply) => reply.status < 400);
  }

  private readonly hear = ({ id, status, name }: Content, buffers: DataView[]): void => {
    const view = buffers[0];
    const bytes = view ? view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) : new ArrayBuffer(0);
    this.waiting.get(id)?.({ status, name, bytes: bytes as ArrayBuffer });
    this.waiting.delete(id);
  };
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const root = document.createElement("div");
  root.style.height = `${model.get("height")}px`;
  root.classList.add("framed");
  el.append(root);
  const kernel = new Kernel(model);
  void mount(root, kernel).catch(() => undefined); // what went wrong stands in the page
  return () => {
    kernel.close();
    root.remove();
  };
}

export default { render };
