"""Owns worker processes and frames: a thin shell around `core.tiles`.

`shell` is the engine's loop, `pool` its worker processes, `frames` the files both sides map, `data` serves them.
`worker`, `image`, `compiling` and `preload` run in processes of their own, the only ones that import kernels.
"""
