"""The desktop viewer: `model` decides and knows no toolkit, `bridge` talks to the runtime, `view` is what Qt shows.

The components for programs of others can be had from here; Qt is loaded when one of them is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rfm_ui.view.components.connection_status import ConnectionStatusIndicator
    from rfm_ui.view.components.progress_bar import ProgressBar
    from rfm_ui.view.components.progress_manager import ProgressManager, get_progress_manager
    from rfm_ui.view.components.progress_timeline import ProgressTimeline

__all__ = ["ConnectionStatusIndicator", "ProgressBar", "ProgressManager", "ProgressTimeline", "get_progress_manager"]

_HOMES = {
    "ConnectionStatusIndicator": "connection_status",
    "ProgressBar": "progress_bar",
    "ProgressManager": "progress_manager",
    "ProgressTimeline": "progress_timeline",
    "get_progress_manager": "progress_manager",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"rfm_ui.view.components.{home}"), name)
