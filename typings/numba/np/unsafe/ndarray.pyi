from typing import Any

to_fixed_tuple: Any
