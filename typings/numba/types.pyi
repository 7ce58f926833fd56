from typing import Any

Array: Any
UniTuple: Any
boolean: Any
complex64: Any
float32: Any
float64: Any
int32: Any
int64: Any
uint8: Any
uint16: Any
void: Any
