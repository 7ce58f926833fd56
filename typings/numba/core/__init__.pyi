from typing import Any

cgutils: Any
