from typing import Any

Constant: Any
DoubleType: Any
FloatType: Any
VoidType: Any
IntType: Any
Undefined: Any
VectorType: Any
FunctionType: Any
