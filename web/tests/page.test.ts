// @vitest-environment jsdom
import { describe, expect, it, vi } from "vitest";
import { Api, Gone, Refusal } from "../src/api";
import { choice, el, latest } from "../src/dom";
import { cell, count, number, percent, several } from "../src/format";
import { shown } from "../src/preview";
import { Tabs } from "../src/tabs";
import type { Reply, Wire } from "../src/wire";

describe("numbers", () => {
  it("have four digits, and a real minus", () => {
    expect([1234.56, -0.012345, 0, 123456, 1e-7, Number.NaN, null].map(number)).toEqual([
      "1235",
      "−0.01235",
      "0",
      "123,456",
      "1.00e-7",
      "–",
      "–",
    ]);
  });

  it("that are nearly all do not read as all", () => {
    expect([1, 0.9998, 0.5, 0.0004, 0].map(percent)).toEqual(["100%", "99.98%", "50.0%", "0.04%", "0%"]);
  });

  it("of things agree with the noun", () => {
    expect([several(1, "row"), several(1200, "row"), count(-1234567)]).toEqual(["1 row", "1,200 rows", "−1,234,567"]);
  });

  it("in cells are gaps where nothing is", () => {
    expect([null, true, 3, "x".repeat(60)].map(cell)).toEqual(["gap", "yes", "3", `${"x".repeat(39)}…`]);
  });
});

describe("what is asked while an answer is awaited", () => {
  it("is asked last, and only the last of it", async () => {
    const asked: number[] = [];
    const waits: (() => void)[] = [];
    const ask = latest<number>(async (value) => {
      asked.push(value);
      await new Promise<void>((resolve) => waits.push(resolve));
    });
    for (const value of [1, 2, 3, 4]) ask(value);
    expect(asked).toEqual([1]);
    waits[0]?.();
    await vi.waitFor(() => expect(asked).toEqual([1, 4]));
  });
});

const reply = (status: number, body: object): Reply => ({
  status,
  name: null,
  bytes: new TextEncoder().encode(JSON.stringify(body)).buffer as ArrayBuffer,
});

describe("the server", () => {
  it("is asked for the key until it is right", async () => {
    const send = vi.fn(async (_: string, key: string) => (key === "right" ? reply(200, { rows: 7 }) : reply(401, {})));
    const api = new Api({ send, isThere: async () => true } as Wire);
    const keys = ["wrong", "right"];
    const wasWrong: boolean[] = [];
    api.askKey = async (was) => {
      wasWrong.push(was);
      return keys.shift() as string;
    };
    expect((await api.facts()).rows).toBe(7);
    expect(wasWrong).toEqual([false, true]);
  });

  it("refuses in its own sentence", async () => {
    const api = new Api({
      send: async () => reply(422, { error: "row 9 is not on the map." }),
      isThere: async () => true,
    });
    await expect(api.row(9)).rejects.toEqual(new Refusal(422, "row 9 is not on the map."));
  });

  it("is waited for when it is gone", async () => {
    vi.useFakeTimers();
    let isUp = false;
    const send = async (): Promise<Reply> => {
      if (!isUp) throw new TypeError("Failed to fetch");
      return reply(200, {});
    };
    const api = new Api({ send, isThere: async () => isUp });
    const heard: boolean[] = [];
    api.onChange((isThere) => heard.push(isThere));
    await expect(api.facts()).rejects.toBeInstanceOf(Gone);
    await vi.advanceTimersByTimeAsync(2500);
    expect(heard).toEqual([false]);
    isUp = true;
    await vi.advanceTimersByTimeAsync(1500);
    expect(heard).toEqual([false, true]);
    vi.useRealTimers();
  });
});

describe("a sample", () => {
  it("of a series is a curve that is interrupted at gaps", () => {
    const drawn = shown({ curve: [[0, 1, null, 2, 3]] }, "a beat");
    expect(drawn.querySelector("path")?.getAttribute("d")?.match(/M/g)).toHaveLength(2);
    expect(drawn.querySelector("svg")?.getAttribute("aria-label")).toBe("a beat");
  });

  it("of a table is its cells, as text and never as markup", () => {
    const drawn = shown(
      {
        cells: [
          ["name", "<img src=x onerror=alert(1)>"],
          ["age", null],
        ],
      },
      "a row",
    );
    expect(drawn.querySelector("img")).toBeNull();
    expect([...drawn.querySelectorAll("td")].map((each) => each.textContent)).toEqual([
      "<img src=x onerror=alert(1)>",
      "gap",
    ]);
  });
});

describe("controls", () => {
  it("tabs show one panel, and arrow keys go round", () => {
    const panel = (id: string) => ({ id, title: id, element: el("div"), open: vi.fn(), close: vi.fn() });
    const [a, b, c] = [panel("a"), panel("b"), panel("c")];
    const tabs = new Tabs([a, b, c]);
    document.body.append(tabs.element);
    tabs.element.querySelector("[role=tablist]")?.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
    expect(tabs.shown).toBe("c");
    expect([a, b, c].map((each) => each.element.hidden)).toEqual([true, true, false]);
    expect(a.close).toHaveBeenCalledOnce();
    expect(c.open).toHaveBeenCalledOnce();
    expect(tabs.element.querySelector("[aria-selected=true]")?.textContent).toBe("c");
  });

  it("of a choice one is pressed", () => {
    const chosen: string[] = [];
    const group = choice(
      "Path",
      [
        ["a", "A"],
        ["b", "B"],
      ],
      "a",
      (value) => chosen.push(value),
    );
    (group.lastElementChild as HTMLButtonElement).click();
    expect(chosen).toEqual(["b"]);
    expect([...group.children].map((each) => each.getAttribute("aria-pressed"))).toEqual(["false", "true"]);
  });
});
