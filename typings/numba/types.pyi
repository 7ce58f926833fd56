from typing import Any

Array: Any
float64: Any
int64: Any
void: Any
