from typing import Any

Array: Any
UniTuple: Any
float64: Any
int64: Any
void: Any
