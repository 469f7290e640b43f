"""Models for other programs: one ONNX graph, scaling included, held to torch before it is kept."""

from __future__ import annotations

from isthmus.apps.exporting.graph import OPSET
from isthmus.apps.exporting.onnx import Exported, export_onnx
from isthmus.apps.exporting.runtime import OnnxModel

__all__ = ["OPSET", "Exported", "OnnxModel", "export_onnx"]
