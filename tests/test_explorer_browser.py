"""The explorer page in a real browser: every hand on it, on pictures, on a table and on series."""

from __future__ import annotations

import base64
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import isthmus as ist
from isthmus.apps.exploring import Exploration

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install 'isthmus[dev]')")
CHROMIUM = os.environ.get("ISTHMUS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no Chromium is here (apt-get install chromium, or set ISTHMUS_CHROMIUM)", allow_module_level=True)

pytestmark = pytest.mark.long

SHOTS = os.environ.get("ISTHMUS_SHOTS")
"""A folder to keep pictures of the page in."""
SOFTWARE_GL = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
NO_GL = ["--no-sandbox", "--disable-gpu", "--disable-3d-apis", "--disable-software-rasterizer"]
NAMES = ("pictures", "table", "beats")
QUICK: dict[str, Any] = {"max_epochs": 3, "random_state": 0, "verbose": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Models of clothes (Fashion-MNIST), passengers (titanic) and heartbeats (ECG5000), with their rows."""
    from isthmus.data import files

    root = tmp_path_factory.mktemp("explored")
    pixels = np.array(files.read(shared_data / "fashion_mnist/t10k-images-idx3-ubyte.gz"))[:400]
    labels = np.array(files.read(shared_data / "fashion_mnist/t10k-labels-idx1-ubyte.gz"))[:400]
    np.save(root / "pictures.npy", pixels)
    np.save(root / "pictures-labels.npy", labels)
    ist.variational(latent_dim=6, **QUICK).fit(pixels).save(root / "pictures")
    passengers = pd.read_csv(shared_data / "seaborn_tables/titanic.csv")
    passengers.to_csv(root / "table.csv", index=False)
    ist.Autoencoder(latent_dim=3, **QUICK).fit(passengers.drop(columns=["survived", "alive"])).save(root / "table")
    beats = np.loadtxt(shared_data / "ucr/ECG5000_TRAIN.txt")
    np.save(root / "beats.npy", beats[:, 1:].astype(np.float32))
    np.save(root / "beats-labels.npy", beats[:, 0].astype(int))
    ist.Autoencoder(latent_dim=2, **QUICK).fit(beats[:, 1:].astype(np.float32)).save(root / "beats")
    return root


def rows_of(folder: Path, name: str) -> tuple[Any, Any, Any]:
    """Return (X, y, table) as the command reads them."""
    if name == "table":
        table = pd.read_csv(folder / "table.csv")
        return table.drop(columns=["survived", "alive"]), None, table
    return np.load(folder / f"{name}.npy"), np.load(folder / f"{name}-labels.npy"), None


@pytest.fixture(scope="module")
def explorations(folder: Path) -> dict[str, Exploration]:
    found = {}
    for name in NAMES:
        X, y, table = rows_of(folder, name)
        found[name] = Exploration(ist.load(folder / name), X, y, table=table)
    return found


class Server:
    """`isthmus explore` in a process of its own."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        command = [sys.executable, "-m", "isthmus", "explore", *arguments, "--no-browser", "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.process.stdout is not None
        self.said = next(line for line in self.process.stdout if line.startswith("http"))
        self.url = self.said.split()[0]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[Callable[[str], Server]]:
    running: dict[str, Server] = {}

    def serve(name: str) -> Server:
        if name not in running:
            data = str(folder / ("table.csv" if name == "table" else f"{name}.npy"))
            labels = [] if name == "table" else ["--labels", str(folder / f"{name}-labels.npy")]
            running[name] = Server(str(folder / name), data, *labels)
        return running[name]

    yield serve
    for server in running.values():
        server.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Callable[[bool], Any]]:
    with sync_api.sync_playwright() as playwright:
        browsers: dict[bool, Any] = {}

        def browser(has_gl: bool) -> Any:
            if has_gl not in browsers:
                browsers[has_gl] = playwright.chromium.launch(
                    executable_path=CHROMIUM, args=SOFTWARE_GL if has_gl else NO_GL
                )
            return browsers[has_gl]

        yield browser
        for each in browsers.values():
            each.close()


class Visit:
    """A page that is looked at, with all that it says and asks for."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | context))
        self.page = self.context.new_page()
        self.url, self.errors, self.asked = url, [], []
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self.errors.append(message.text)
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)
        self.page.wait_for_selector("[data-ready]")
        self.page.wait_for_selector(".legend h2", state="attached")

    def pick(self, row: int) -> None:
        """Pick a row as a hand does: where it lies on the map."""
        self.page.mouse.click(*self.at(row))
        self.page.wait_for_selector("[data-picked]")

    def at(self, row: int) -> tuple[float, float]:
        """Return where a row lies on the screen, when the map shows the middle 99.8 % of all rows."""
        points = np.frombuffer(self.page.request.get(self.url + "explore/points").body(), "<f4").reshape(2, -1)
        last = points.shape[1] - 1
        ends = np.sort(points, 1)[:, [math.floor(0.001 * last), math.ceil(0.999 * last)]]
        box = self.page.locator(".map").bounding_box()
        scale = ((np.array([box["width"], box["height"]]) - 72) / np.diff(ends)[:, 0]).min()
        across, up = (points[:, row] - ends.mean(1)) * scale
        return box["x"] + box["width"] / 2 + across, box["y"] + box["height"] / 2 - up

    def figure(self, name: str) -> float:
        """Return a figure of the page to its last digit."""
        return float(self.page.locator(f"[data-figure='{name}']").first.get_attribute("data-value"))

    def shoot(self, name: str) -> None:
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))

    def leave(self) -> None:
        """End the visit: nothing was complained of, and nobody else was asked."""
        assert self.errors == []
        assert [url for url in self.asked if not url.startswith((self.url, "blob:", "data:"))] == []
        self.context.close()


Go = Callable[..., Visit]


@pytest.fixture
def visit(chromium: Callable[[bool], Any], servers: Callable[[str], Server]) -> Go:
    return lambda name, has_gl=True, **context: Visit(chromium(has_gl), servers(name).url, **context)


def lonely(explored: Exploration) -> int:
    """Return the row whose point is farthest from all others, within the middle of the map: one that a hand can hit."""
    points = explored.points.astype(np.float64)
    away = np.sqrt(np.square(points[:, None] - points[None]).sum(-1))
    np.fill_diagonal(away, np.inf)
    low, high = np.percentile(points, [2, 90], axis=0)
    inside = ((points > low) & (points < high)).all(1)
    return int(np.where(inside, away.min(1), -1).argmax())


@pytest.mark.parametrize("name", NAMES)
def test_a_picked_row_shows_the_figures_of_the_estimator(
    visit: Go, explorations: dict[str, Exploration], name: str
) -> None:
    there, explored = visit(name), explorations[name]
    row = lonely(explored)
    there.page.mouse.move(*there.at(row))
    there.page.wait_for_selector(".hover:not([hidden])")
    assert there.page.locator(".hover b").inner_text().endswith(f" {row}")
    there.shoot(f"{name}-hover")
    there.pick(row)
    assert there.page.locator("#panel-look h2").inner_text().endswith(f" {row}")
    right = float(explored.ae.reconstruction_error(explored.X)[row])
    assert there.figure("reconstruction error") == pytest.approx(right, rel=1e-6)
    code = [float(each.input_value()) for each in there.page.locator(".slider input").all()]
    np.testing.assert_allclose(code, explored.ae.transform(explored.X)[row], atol=0.02 * np.ptp(explored.codes))
    there.shoot(f"{name}-picked")
    there.leave()


@pytest.mark.parametrize("name", NAMES)
def test_the_decoder_draws_what_the_probe_is_dragged_to(
    visit: Go, explorations: dict[str, Exploration], name: str
) -> None:
    there, explored = visit(name), explorations[name]
    page = there.page
    page.wait_for_selector(".probe:not([hidden])")
    box = page.locator(".probe").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    replies: list[Any] = []
    page.on("response", lambda response: response.url.endswith("explore/place") and replies.append(response))
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 13):
        page.mouse.move(x + 8 * step, y - 5 * step)
        page.wait_for_timeout(15)
    page.mouse.up()
    page.wait_for_timeout(400)
    assert len(replies) >= 3
    asked, found = json.loads(replies[-1].request.post_data), replies[-1].json()
    code = explored.code_at(asked["point"], asked["row"])
    np.testing.assert_allclose(found["codes"][0], code, rtol=1e-4, atol=1e-5)
    told = explored.decode(code[None])[0].to_dict()
    if name == "pictures":
        shown = page.locator("[data-frame=decoded] canvas").evaluate(
            "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 0)"
        )
        decoded = explored.decode(code[None])[0].pixels
        assert decoded is not None
        assert np.abs(np.array(shown) - decoded.ravel().astype(int)).max() <= 1
    if name == "table":
        cells = page.locator("td.here").all_inner_texts()
        assert len(cells) == len(told["cells"])
        assert next(value for _, value in told["cells"] if isinstance(value, str)) in cells
    outputs = [float(each.replace("−", "-")) for each in page.locator(".slider output").all_inner_texts()]
    np.testing.assert_allclose(outputs, code, rtol=1e-3, atol=1e-4)
    there.shoot(f"{name}-dragged")
    there.leave()


def test_a_slider_decodes_as_it_moves(visit: Go, explorations: dict[str, Exploration]) -> None:
    there = visit("pictures")
    before = there.page.locator(".probe").evaluate("p => p.style.transform")
    with there.page.expect_response("**/explore/decode") as replied:
        there.page.locator(".slider input").nth(2).press("PageUp")
    found = replied.value.json()
    code = np.array(json.loads(replied.value.request.post_data)["codes"], np.float32)
    point = explorations["pictures"].map.place(code)
    np.testing.assert_allclose(found["points"], point, rtol=1e-5)
    there.page.wait_for_function("b => document.querySelector('.probe').style.transform !== b", arg=before)
    there.leave()


@pytest.mark.parametrize("name", NAMES)
def test_a_walk_goes_from_one_row_to_another(visit: Go, explorations: dict[str, Exploration], name: str) -> None:
    there = visit(name)
    page = there.page
    there.pick(lonely(explorations[name]))
    page.click("text=Walk from here")
    page.locator(".map").focus()
    for _ in range(3):
        page.keyboard.press("j")
    page.wait_for_selector(".strip > *")
    with page.expect_response(lambda response: "spherical" in (response.request.post_data or "")) as replied:
        page.click("text=Spherical")
    asked, found = json.loads(replied.value.request.post_data), replied.value.json()
    walk = explorations[name].walk(**asked)
    np.testing.assert_allclose(found["points"], explorations[name].map.place(walk.codes[0]), rtol=1e-4, atol=1e-4)
    page.wait_for_timeout(200)
    steps = page.locator(".film thead th, .strip figure").count() - (name == "table")
    assert steps == asked["steps"] == 9
    there.shoot(f"{name}-walk")
    there.leave()


@pytest.mark.parametrize("name", NAMES)
def test_what_pleases_is_kept_and_downloaded(
    visit: Go, explorations: dict[str, Exploration], name: str, tmp_path: Path
) -> None:
    there, ae = visit(name), explorations[name].ae
    page = there.page
    page.click("#tab-sample")
    page.wait_for_selector("#panel-sample .card")
    page.locator("#panel-sample .card").nth(3).click()
    page.click("text=Next")
    page.wait_for_timeout(600)
    page.locator("#panel-sample .card").nth(0).click()
    there.shoot(f"{name}-sample")
    with page.expect_download() as downloaded:
        page.click("text=Download 2 samples")
    file = tmp_path / downloaded.value.suggested_filename
    downloaded.value.save_as(file)
    first, second = ae.sample(12, random_state=0), ae.sample(12, random_state=1)
    if name == "table":
        found = pd.read_csv(file)
        assert list(found.columns) == list(first.columns)
        assert found.sex.tolist() == [first.sex.iloc[3], second.sex.iloc[0]]
        np.testing.assert_allclose(found.fare, [first.fare.iloc[3], second.fare.iloc[0]], rtol=1e-3)
    else:
        right = np.stack([np.asarray(first)[3], np.asarray(second)[0]])
        np.testing.assert_allclose(np.load(file, allow_pickle=False).astype(float), right, atol=1.01)
    there.leave()


@pytest.mark.parametrize("name", NAMES)
def test_a_threshold_that_is_dragged_flags_what_the_detector_would(
    visit: Go, explorations: dict[str, Exploration], name: str
) -> None:
    there, odd = visit(name), explorations[name].oddities
    page = there.page
    page.click("#tab-odd")
    page.wait_for_selector(".odd-list li", timeout=90_000)
    assert there.figure("threshold") == pytest.approx(odd.threshold, rel=1e-6)
    assert there.figure("flagged") == (odd.scores > odd.threshold).sum()
    box = page.locator(".drag").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 50)
    page.mouse.down()
    with page.expect_response("**/explore/odd"):
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50, steps=4)
    page.mouse.up()
    page.wait_for_timeout(300)
    threshold = there.figure("threshold")
    assert threshold < odd.threshold
    right = odd.at(threshold)
    assert there.figure("flagged") == right["flagged"] > 0
    assert there.figure("false alarms") == pytest.approx(right["false_alarm_rate"])
    scores = [float(each.get_attribute("data-value")) for each in page.locator(".odd-list .score").all()]
    np.testing.assert_allclose(scores, np.sort(odd.scores)[::-1][: len(scores)], rtol=1e-6)
    there.shoot(f"{name}-odd")
    page.locator(".drag").focus()
    with page.expect_response("**/explore/odd"):
        page.keyboard.press("ArrowRight")
    page.locator(".odd-list button").first.click()
    page.wait_for_selector(f"[data-picked='{right['rows'][0]['row']}']")
    there.leave()


@pytest.mark.parametrize("name", NAMES)
def test_neighbours_are_those_of_the_index(
    visit: Go, explorations: dict[str, Exploration], name: str, tmp_path: Path
) -> None:
    there, explored = visit(name), explorations[name]
    row = lonely(explored)
    there.pick(row)
    there.page.click("text=What is alike")
    there.page.wait_for_selector("#panel-search .card")
    right = explored.neighbours(row, 8)
    cards = there.page.locator("#panel-search .card")
    assert [int(each.get_attribute("data-row")) for each in cards.all()] == right.positions[0].tolist()
    away = [float(each.get_attribute("data-value")) for each in cards.locator("[data-value]").all()]
    np.testing.assert_allclose(away, right.distances[0], rtol=1e-3, atol=1e-6)
    there.shoot(f"{name}-search")
    if name == "table":
        file = tmp_path / "row.csv"
        explored.X.iloc[[row]].to_csv(file, index=False)
    else:
        file = tmp_path / "row.npy"
        np.save(file, explored.X[[row]])
    there.page.set_input_files(".drop input", file)
    there.page.wait_for_selector(".asked > *")
    there.page.wait_for_function("document.querySelector('#panel-search [data-value]').dataset.value < 1e-4")
    assert float(cards.locator("[data-value]").first.get_attribute("data-value")) == pytest.approx(0, abs=1e-4)
    there.leave()


@pytest.mark.parametrize("name", NAMES)
def test_health_is_that_of_the_report(visit: Go, explorations: dict[str, Exploration], name: str) -> None:
    there, facts = visit(name, color_scheme="dark"), explorations[name].health
    there.page.click("#tab-health")
    there.page.wait_for_selector(".findings li", timeout=60_000)
    assert there.figure("explained") == pytest.approx(facts["scores"]["model"]["explained"], rel=1e-5)
    for rival in ("model", "pca", "mean"):
        right = facts["scores"][rival]["squared_error"]
        assert there.figure(f"squared error of {rival}") == pytest.approx(right, rel=1e-5)
    assert there.page.locator(".findings li").count() == len(facts["health"])
    assert there.page.locator("[data-theme=dark]").count() == 1
    there.shoot(f"{name}-health-dark")
    there.leave()


def test_the_points_are_coloured_by_what_is_chosen_and_a_group_can_stand_alone(visit: Go) -> None:
    there = visit("table")
    page = there.page
    assert page.locator(".legend h2").inner_text() == "survived"

    def colours() -> dict[str, int]:
        """Count the pixels of each strong colour on the map."""
        return page.evaluate(
            """() => { const c = document.querySelector('canvas.points'), k = document.createElement('canvas');
            k.width = c.width; k.height = c.height; const x = k.getContext('2d'); x.drawImage(c, 0, 0);
            const d = x.getImageData(0, 0, k.width, k.height).data, found = {};
            for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200) { const n = d[i + 2] > d[i] ? 'blue' : 'orange';
            found[n] = (found[n] ?? 0) + 1; } return found; }"""
        )

    both = colours()
    assert both["blue"] > 500
    assert both["orange"] > 500
    page.locator(".legend button").nth(1).click()
    page.wait_for_timeout(300)
    alone = colours()
    assert alone["orange"] > 500
    assert alone.get("blue", 0) < 0.05 * both["blue"]
    page.select_option(".by select", "age")
    page.wait_for_selector(".legend .ramp")
    assert page.locator(".legend h2").inner_text() == "age"
    there.shoot("table-age")
    there.leave()


def test_rows_within_a_lasso_are_counted_and_saved(
    visit: Go, explorations: dict[str, Exploration], tmp_path: Path
) -> None:
    there = visit("beats")
    page, row = there.page, lonely(explorations["beats"])
    page.click("[aria-label='Draw around rows']")
    x, y = there.at(row)
    page.mouse.move(x - 8, y - 8)
    page.mouse.down()
    for dx, dy in ((8, -8), (8, 8), (-8, 8), (-8, -8)):
        page.mouse.move(x + dx, y + dy, steps=3)
    page.mouse.up()
    page.wait_for_selector(".chosen b")
    assert there.figure("chosen") == 1
    there.shoot("beats-lasso")
    with page.expect_download() as downloaded:
        page.click("text=Save their numbers")
    downloaded.value.save_as(tmp_path / "rows.csv")
    assert pd.read_csv(tmp_path / "rows.csv").row.tolist() == [row]
    page.click("text=Clear")
    assert page.locator(".chosen > *").count() == 0
    there.leave()


@pytest.mark.parametrize("name", NAMES)
def test_the_page_fits_a_phone(visit: Go, name: str) -> None:
    there = visit(name, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = there.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".map").focus()
    page.keyboard.press("j")
    page.wait_for_selector("[data-picked='0']")
    there.shoot(f"{name}-phone")
    for tab in ("walk", "sample", "search"):
        page.tap(f"#tab-{tab}")
        assert page.locator(f"#panel-{tab}").is_visible()
    there.leave()


def test_the_keyboard_reaches_everything(visit: Go) -> None:
    there = visit("pictures")
    page = there.page
    page.locator("#tab-look").focus()
    for tab in ("walk", "sample", "odd", "search", "health", "look"):
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
    page.locator(".map").focus()
    for key in ("+", "ArrowLeft", "-", "0", "j", "j", "k"):
        page.keyboard.press(key)
    page.wait_for_selector("[data-picked='0']")
    page.locator(".probe").focus()
    with page.expect_response("**/explore/place"):
        page.keyboard.press("ArrowUp")
    page.click("[aria-label='What hands and keys do']")
    there.shoot("pictures-keys")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    there.leave()


def test_the_theme_can_be_turned(visit: Go) -> None:
    there = visit("pictures")
    paper = "getComputedStyle(document.querySelector('.stage')).backgroundColor"
    light = there.page.evaluate(paper)
    there.page.click("[aria-label='Light or dark']")
    assert there.page.evaluate(paper) != light
    there.shoot("pictures-dark")
    there.leave()


@pytest.mark.parametrize("name", NAMES)
def test_without_webgl_the_map_is_drawn_all_the_same_and_says_so(visit: Go, name: str) -> None:
    there = visit(name, has_gl=False)
    page = there.page
    assert page.locator("[data-painter=canvas]").count() == 1
    assert "no WebGL" in page.locator(".notes").inner_text()
    drawn = page.evaluate(
        """() => { const c = document.querySelector('canvas.points');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 === 3 && v > 100); }"""
    )
    assert drawn
    page.locator(".map").focus()
    page.keyboard.press("j")
    page.wait_for_selector("[data-picked='0']")
    there.shoot(f"{name}-no-webgl")
    there.leave()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_server_that_goes_is_told_of_and_the_page_goes_on_when_it_is_back(
    chromium: Callable[[bool], Any], folder: Path
) -> None:
    port = free_port()
    arguments = (str(folder / "beats"), str(folder / "beats.npy"))
    server = Server(*arguments, port=port)
    there = Visit(chromium(True), server.url)
    page = there.page
    server.stop()
    page.locator(".slider input").first.press("PageUp")
    page.wait_for_selector(".gone:not([hidden])")
    assert "The server does not answer" in page.locator(".gone").inner_text()
    there.shoot("beats-gone")
    back = Server(*arguments, port=port)
    try:
        with page.expect_response(re.compile("explore/decode$"), timeout=30_000):
            pass
        page.wait_for_selector(".gone", state="hidden", timeout=10_000)
        there.errors = [
            each for each in there.errors if "ERR_CONNECTION_REFUSED" not in each
        ]  # the browser's own words
        there.leave()
    finally:
        back.stop()


def test_the_page_says_what_is_missing_without_data_or_with_two_rows(
    chromium: Callable[[bool], Any], folder: Path, tmp_path: Path
) -> None:
    server = Server(str(folder / "beats"))
    there = Visit(chromium(True), server.url)
    assert "No data was given" in there.page.locator(".notes").inner_text()
    there.page.click("#tab-odd")
    there.page.wait_for_selector("#panel-odd .refusal")
    there.page.click("#tab-sample")
    there.page.wait_for_selector("#panel-sample .card")
    assert "have no prior" in there.page.locator("#panel-sample").inner_text()
    there.shoot("beats-no-data")
    there.errors = [each for each in there.errors if "status of 422" not in each]  # a refusal, told in the panel
    there.leave()
    server.stop()
    np.save(tmp_path / "two.npy", np.load(folder / "beats.npy")[:2])
    server = Server(str(folder / "beats"), str(tmp_path / "two.npy"))
    there = Visit(chromium(True), server.url)
    assert "There are two rows" in there.page.locator(".notes").inner_text()
    there.page.locator(".map").focus()
    there.page.keyboard.press("j")
    there.page.wait_for_selector("[data-picked='0']")
    there.shoot("beats-two-rows")
    there.leave()
    server.stop()


def test_a_page_with_a_key_asks_for_it(
    chromium: Callable[[bool], Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_API_KEY", "open sesame, please")
    server = Server(str(folder / "beats"))
    assert "asks for the key" in server.said
    page = chromium(True).new_context().new_page()
    page.goto(server.url)
    for key in ("wrong", "open sesame, please"):
        page.wait_for_selector("dialog[open]")
        page.fill("dialog input", key)
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
    page.wait_for_selector("[data-ready]")
    page.context.close()
    server.stop()


NOTEBOOK = """<!doctype html><link rel="stylesheet" href="/explorer.css"><div id="cell"></div><script type="module">
import widget from '/widget.js';
const heard = [];
const model = {
  get: () => 620, on: (_, hear) => heard.push(hear), off: () => undefined,
  send: async (content, _, buffers) => {
    const body = buffers.length ? btoa(String.fromCharCode(...new Uint8Array(buffers[0]))) : null;
    const [answer, bytes] = await window.kernel(content, body);
    const view = new DataView(Uint8Array.from(atob(bytes), c => c.charCodeAt(0)).buffer);
    for (const hear of heard) hear(answer, [view]);
  },
};
widget.render({ model, el: document.getElementById('cell') });
</script>"""


def test_the_widget_of_a_notebook_shows_the_same_page_with_the_kernel_behind_it(
    chromium: Callable[[bool], Any], explorations: dict[str, Exploration]
) -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed (pip install 'isthmus[notebook]')")
    explored = explorations["pictures"]
    widget: Any = ist.explore(explored.ae, explored.X, np.arange(len(explored)) % 4)
    sent: list[Any] = []
    widget.send = lambda content, buffers: sent.append([content, base64.b64encode(buffers[0]).decode()])

    def kernel(content: dict[str, Any], body: str | None) -> Any:
        widget._hear(widget, content, [] if body is None else [memoryview(base64.b64decode(body))])
        return sent.pop()

    page = chromium(True).new_context(viewport={"width": 900, "height": 700}).new_page()
    errors: list[str] = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.expose_function("kernel", kernel)
    served = {"": NOTEBOOK, "widget.js": widget._esm, "explorer.css": widget._css}
    kinds = {"": "text/html", "widget.js": "text/javascript", "explorer.css": "text/css"}
    page.route(
        "http://notebook/**",
        lambda route: route.fulfill(
            body=str(served.get(route.request.url.removeprefix("http://notebook/"), "")),
            content_type=kinds.get(route.request.url.removeprefix("http://notebook/"), "text/plain"),
        ),
    )
    page.goto("http://notebook/")
    page.wait_for_selector("[data-ready]")
    page.wait_for_selector(".legend h2", state="attached")
    page.locator(".map").focus()
    page.keyboard.press("j")
    page.wait_for_selector("[data-picked='0']")
    found = float(page.locator("[data-figure='reconstruction error']").get_attribute("data-value"))
    assert found == pytest.approx(float(explored.ae.reconstruction_error(explored.X)[0]), rel=1e-6)
    assert page.locator(".isthmus").bounding_box()["height"] == pytest.approx(620)
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / "widget.png"))
    assert errors == []
    page.context.close()


def test_the_policy_of_the_page_lets_nothing_in_from_elsewhere(visit: Go) -> None:
    there = visit("beats")
    policy = there.page.request.get(there.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    there.leave()
