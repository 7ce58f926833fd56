from collections.abc import Callable
from typing import Any

def intrinsic(typing: Callable[..., Any]) -> Any: ...
