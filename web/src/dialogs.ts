import { el } from "./dom";

const KEYS: [string, string][] = [
  ["click", "pick a row"],
  ["Shift and click", "pick where a walk ends"],
  ["J, K", "the next row, the one before"],
  ["arrows", "move the map, or the probe when it has the focus"],
  ["+, −, 0", "zoom in, zoom out, show all"],
  ["Alt and drag", "draw around rows, with any tool"],
  ["Tab", "from the map to the panels and back"],
];

/** What hands and keys do on the map. */
export function showKeys(root: HTMLElement): void {
  const close = () => dialog.remove();
  const dialog = el(
    "dialog",
    { "aria-labelledby": "isthmus-keys", onclose: close },
    el("h2", { id: "isthmus-keys" }, "On the map"),
    el("dl", { class: "keys" }, ...KEYS.flatMap(([key, what]) => [el("dt", {}, key), el("dd", {}, what)])),
    el(
      "div",
      { class: "row" },
      el("button", { type: "button", class: "main", onclick: () => dialog.close() }, "Close"),
    ),
  );
  root.append(dialog);
  dialog.showModal();
}

/** Ask for the key of the server until one is given. */
export function askKey(root: HTMLElement, wasWrong: boolean): Promise<string> {
  return new Promise((resolve) => {
    const input = el("input", { type: "password", autocomplete: "off", "aria-label": "Key", required: true });
    const take = (event: Event) => {
      event.preventDefault();
      if (!input.value) return;
      dialog.close();
      dialog.remove();
      resolve(input.value);
    };
    const dialog = el(
      "dialog",
      { "aria-labelledby": "isthmus-key", oncancel: (event: Event) => event.preventDefault() },
      el(
        "form",
        { onsubmit: take },
        el("h2", { id: "isthmus-key" }, "This page asks for a key"),
        el(
          "p",
          { class: "aside" },
          wasWrong ? "That was not it. Who opened the page has it." : "Who opened the page has it.",
        ),
        el("div", { class: "row" }, input, el("button", { type: "submit", class: "main" }, "Enter")),
      ),
    );
    root.append(dialog);
    dialog.showModal();
  });
}
