"""The model as a service. It receives, queues, calls the library and answers; it computes nothing itself."""

from __future__ import annotations

from isthmus.web.app import Settings, create_app
from isthmus.web.models import Served

__all__ = ["Served", "Settings", "create_app"]
