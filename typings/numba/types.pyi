from typing import Any

Array: Any
CPointer: Any
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
