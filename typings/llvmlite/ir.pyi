from typing import Any

Constant: Any
DoubleType: Any
IntType: Any
Undefined: Any
VectorType: Any
FunctionType: Any
