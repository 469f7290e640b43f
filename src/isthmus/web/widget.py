"""The explorer in a notebook: the page, whose questions the kernel answers."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from isthmus.errors import SettingError

if TYPE_CHECKING:
    from anywidget import AnyWidget

    from isthmus.apps.anomaly.detector import AnomalyDetector
    from isthmus.estimator import Autoencoder

LEAST_HEIGHT = 300


def explore(
    model: Autoencoder | AnomalyDetector,
    X: Any = None,
    y: Any = None,
    *,
    layout: str = "auto",
    height: int = 680,
) -> AnyWidget:
    """Look at a latent space in a notebook: the page of ``isthmus explore``, as a widget.

    Parameters
    ----------
    X : rows, in a form the model takes; None shows the codes of training rows that it kept.
    y : one value a row, by which the points can be coloured.
    layout : how codes become points: "auto", "pca" or "umap".
    height : of the widget, in pixels.

    >>> ist.explore(ae, X, y)  # doctest: +SKIP
    """
    from isthmus.apps.exploring import Exploration
    from isthmus.web.exploring import Explorer

    if not isinstance(height, int) or height < LEAST_HEIGHT:
        raise SettingError(f"height={height!r} must be a whole number of pixels, at least {LEAST_HEIGHT}.")
    explorer = Explorer(Exploration(model, X, y, method=layout), type(model).__name__)
    return _widget()(explorer, height)


@cache
def _widget() -> type[Any]:
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise SettingError(
            "ist.explore needs anywidget: pip install 'isthmus[notebook]'; or use isthmus explore."
        ) from error
    from isthmus.web.refusals import refusal

    static = files("isthmus.web") / "static"

    class ExplorerWidget(anywidget.AnyWidget):
        """The explorer; a question is a message {id, path} with a body, and so is its answer {id, status, name}."""

        _esm = (static / "widget.js").read_text("utf-8")
        _css = (static / "explorer.css").read_text("utf-8")
        height = traitlets.Int().tag(sync=True)

        def __init__(self, explorer: Any, height: int) -> None:
            super().__init__(height=height)
            self.explorer = explorer
            self.on_msg(self._hear)

        def _hear(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
            path = str(content["path"]).removeprefix("explore").removeprefix("/")
            try:
                reply = self.explorer.answer(path, bytes(buffers[0]) if buffers else None)
            except Exception as error:
                refused = refusal(error)
                if refused is None:
                    self.send({"id": content["id"], "status": 500, "name": None}, [b'{"error": "see the notebook."}'])
                    raise
                self.send(
                    {"id": content["id"], "status": refused.status, "name": None},
                    [json.dumps({"error": refused.sentence}).encode()],
                )
                return
            self.send({"id": content["id"], "status": 200, "name": reply.name}, [reply.content])

    return ExplorerWidget
