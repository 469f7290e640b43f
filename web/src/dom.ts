type Child = Node | string | null | false | undefined;
type Props = Record<string, unknown>;

/** Make an element; `class`, `data-*` and `aria-*` are attributes, `on*` listeners, all else properties. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value as EventListener);
    else if (name === "class" || name === "role" || name === "for" || name.includes("-"))
      made.setAttribute(name, value === true ? "" : String(value));
    else (made as unknown as Props)[name] = value;
  }
  made.append(
    ...children.filter((child): child is Node | string => child !== null && child !== false && child !== undefined),
  );
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** Make an element of a drawing. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | number>,
  ...children: Node[]
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** Run an asynchronous task so that never two run at once, and what is asked meanwhile is answered last. */
export function latest<T>(task: (value: T) => Promise<void>): (value: T) => void {
  let running = false;
  let next: { value: T } | null = null;
  return (value) => {
    next = { value };
    if (running) return;
    running = true;
    void (async () => {
      while (next) {
        const { value } = next;
        next = null;
        await task(value);
      }
      running = false;
    })();
  };
}

/** Hand a file to the reader of the page. */
export function save(blob: Blob, name: string): void {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A row of buttons of which one is pressed; one with an icon says its name to who cannot see it. */
export function choice<T extends string>(
  label: string,
  options: readonly (readonly [T, string, SVGElement?])[],
  chosen: T,
  choose: (value: T) => void,
): HTMLElement {
  const buttons = options.map(([value, text, icon]) =>
    el(
      "button",
      {
        type: "button",
        "data-value": value,
        "aria-pressed": String(value === chosen),
        "aria-label": icon && text,
        title: icon && text,
        onclick: () => set(value),
      },
      icon ?? text,
    ),
  );
  const set = (value: T) => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
    choose(value);
  };
  return el("div", { class: "choice", role: "group", "aria-label": label }, ...buttons);
}
