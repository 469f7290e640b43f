"""The explorer page in Chromium with software GL: how soon it can be used, how fast it draws, how long a decode takes.

    OMP_NUM_THREADS=1 python benchmarks/explorer.py [--rows 100000 1000000] [--times 5] [--decodes 60]

``ready``: seconds from the navigation to the second frame after the points are drawn, browser and page started anew; beside it
the seconds of the processor that browser and server take for it, which say what a machine without other work needs at most.
``frame``: milliseconds for each of 30 frames, until the last is drawn, while the map is dragged. ``decode``: milliseconds from
a move of a slider until the answer is here, and until the map shows it, which waits for the next frame too. The rows are 8
numbers of 10 groups; the decodes are those of a dense and of a convolutional autoencoder of Fashion-MNIST. Medians, with the
least and the most.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from playwright.sync_api import sync_playwright

import isthmus as ist

GL = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
TWO_FRAMES = "() => new Promise(d => requestAnimationFrame(() => requestAnimationFrame(() => d(performance.now()))))"
DECODES = """async times => {
  const slider = document.querySelector('.slider input'), probe = document.querySelector('.probe');
  const [low, high] = [Number(slider.min), Number(slider.max)], shown = [];
  performance.clearResourceTimings();
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    const moved = new Promise(done => {
      const watch = new MutationObserver(() => { watch.disconnect(); done(); });
      watch.observe(probe, { attributes: true, attributeFilter: ['style'] });
    });
    slider.value = String(low + (high - low) * ((i * 37 % times) + 1) / (times + 2));
    slider.dispatchEvent(new Event('input'));
    await moved;
    shown.push(performance.now() - start);
    await new Promise(done => setTimeout(done, 20));
  }
  return [performance.getEntriesByType('resource').filter(e => e.name.endsWith('decode')).map(e => e.duration), shown];
}"""
FRAMES = """async () => {
  const map = document.querySelector('.map'), at = (kind, x) => map.dispatchEvent(new PointerEvent(kind,
    { pointerId: 1, button: 0, clientX: x, clientY: 400, bubbles: true }));
  const gl = document.querySelector('canvas.points').getContext('webgl');
  const drawn = () => gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); // waits for it
  map.setPointerCapture = () => undefined;
  const move = async times => {
    for (let i = 0; i < times; i++) {
      at('pointermove', 306 + 4 * (i % 30));
      await new Promise(done => requestAnimationFrame(done));
    }
    drawn();
  };
  at('pointerdown', 300);
  await move(10);
  const start = performance.now();
  await move(30);
  const took = (performance.now() - start) / 30;
  at('pointerup', 430);
  return took;
}"""


def said(values: list[float], unit: str) -> str:
    """Write a median with its range."""
    digits = 2 if unit == "s" else 1
    middle, least, most = (f"{value:.{digits}f}" for value in (np.median(values), min(values), max(values)))
    return f"{middle} {unit} ({least} to {most})"


@contextlib.contextmanager
def served(model: Any, X: np.ndarray, folder: Path) -> Iterator[str]:
    """Serve a page in a process of its own; its address."""
    model.save(str(folder / "model"))
    np.save(folder / "rows.npy", X)
    command = [sys.executable, "-m", "isthmus", "explore", str(folder / "model"), str(folder / "rows.npy")]
    process = subprocess.Popen([*command, "--no-browser", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield next(line for line in process.stdout if line.startswith("http")).split()[0]
    finally:
        process.terminate()
        process.wait()


def busy() -> float:
    """Return the seconds of the processor that this process and all below it have taken."""
    own, taken, parents = {os.getpid()}, {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)], taken[int(entry.name)] = int(words[1]), sum(map(int, words[11:13]))
    while more := {child for child, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(taken.get(each, 0) for each in own) / os.sysconf("SC_CLK_TCK")


def opened(playwright: Any, url: str) -> tuple[Any, Any, float, float]:
    """Open the page in a browser of its own; browser, page, seconds until it can be used, those of the processor."""
    browser = playwright.chromium.launch(
        executable_path=os.environ.get("ISTHMUS_CHROMIUM") or shutil.which("chromium"), args=GL
    )
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(300_000)
    before = busy()
    page.goto(url, wait_until="commit")
    page.wait_for_selector("[data-ready]", state="attached")
    seconds = page.evaluate(TWO_FRAMES) / 1000
    return browser, page, seconds, busy() - before


def groups(rows: int) -> np.ndarray:
    """Return rows of 8 numbers in 10 groups."""
    rng = np.random.default_rng(0)
    return (4 * rng.normal(size=(10, 8))[rng.integers(10, size=rows)] + rng.normal(size=(rows, 8))).astype(np.float32)


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--decodes", type=int, default=60)
    asked = parser.parse_args()
    quick: dict[str, Any] = {"random_state": 0, "verbose": False}
    with sync_playwright() as playwright:
        for rows in asked.rows:
            X = groups(rows)
            model = ist.Autoencoder(latent_dim=3, max_epochs=2, **quick).fit(X[:20_000])
            with tempfile.TemporaryDirectory() as folder, served(model, X, Path(folder)) as url:
                ready, worked, frames = [], [], []
                for _ in range(asked.times):
                    browser, page, seconds, processor = opened(playwright, url)
                    page.wait_for_selector(".legend h2")
                    ready.append(seconds)
                    worked.append(processor)
                    frames.append(page.evaluate(FRAMES))
                    browser.close()
                at_work = f"processor {said(worked, 's')}"
                print(f"{rows:>9,} points  ready {said(ready, 's')}  {at_work}  frame {said(frames, 'ms')}", flush=True)
        if not asked.decodes:
            return
        images = datasets.fashion_images("train")[:2000]
        for name, variant in (("dense", ist.Autoencoder), ("convolutional", ist.convolutional)):
            model = variant(latent_dim=16, max_epochs=1, **quick).fit(images)
            with tempfile.TemporaryDirectory() as folder, served(model, images, Path(folder)) as url:
                browser, page, *_ = opened(playwright, url)
                page.wait_for_selector(".legend h2")
                answered, shown = page.evaluate(DECODES, asked.decodes)
                print(f"{name:>16}  decode {said(answered, 'ms')}  on the map {said(shown, 'ms')}", flush=True)
                browser.close()


if __name__ == "__main__":
    main()
