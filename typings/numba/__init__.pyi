"""The part of numba that the kernels use; njit keeps the function's own type."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from numba import types as types

_F = TypeVar("_F", bound=Callable[..., Any])

class _Decorator(Protocol):
    def __call__(self, function: _F, /) -> _F: ...

class _Config:
    CACHE_DIR: str
    DISABLE_JIT: bool

config: _Config

def njit(
    signatures: list[Any] = ...,
    *,
    nogil: bool = ...,
    cache: bool = ...,
    error_model: str = ...,
    forceinline: bool = ...,
    _nrt: bool = ...,
) -> _Decorator: ...
