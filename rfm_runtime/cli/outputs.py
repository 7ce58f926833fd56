"""Files that `rfm-runtime render` writes beside the picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rfm_runtime.cli.common import console, output_file
from rfm_runtime.errors import BadRequestError

if TYPE_CHECKING:
    from rfm_runtime.client.handle import Operation
    from rfm_runtime.render.request import RenderRequest

__all__ = ["Outputs"]


class Outputs:
    """What is to be written beside the picture. All that can be wrong with it is said before the render.

    rendered: it is written once the picture is there.
    """

    def __init__(
        self,
        request: RenderRequest,
        *,
        raw: Path | None = None,
        exr: Path | None = None,
        params: Path | None = None,
        rendered: bool = True,
        force: bool,
        runtime_dir: str | None,
    ) -> None:
        if params is not None:
            # A limit of iterations that is to be found out is a number once the picture is there.
            found_out = rendered and not request.max_iter
            _text(msgspec.structs.replace(request, max_iter=1) if found_out else request, params)
        if exr is not None:
            _called(exr, ".exr")
            _need_exr()
        if raw is not None:
            _called(raw, ".npz")
        self._request = request
        self._force = force
        self._raw, self._exr, self._params = (
            None if path is None else output_file(path, force=force, runtime_dir=runtime_dir)
            for path in (raw, exr, params)
        )
        self.paths = tuple(path for path in (self._raw, self._exr, self._params) if path is not None)

    def write_params(self, rendered: RenderRequest | None = None) -> None:
        """Write the parameters, if they are wanted. Raises BadRequestError, OutputExistsError, SetupError.

        rendered: what the picture says, where there is one: other programs know no automatic limit.
        """
        from rfm_runtime.client.handle import write_file
        from rfm_runtime.render.files.kfp import left_out

        if self._params is not None:
            ours = self._params.suffix.lower() == ".toml"
            text = _text(self._request if ours or rendered is None else rendered, self._params)
            write_file(self._params, text, force=self._force)
            if not ours and (missing := left_out(self._request)):
                note = f"{self._params}: Kalles Fraktaler has no {', '.join(missing)}; a .toml keeps all of it"
                console(stderr=True).print(note, style="yellow", markup=False)

    def write(self, operation: Operation) -> None:
        """Write everything that is wanted of a completed render. Raises OutputExistsError, SetupError."""
        if not self.paths:
            return
        from rfm_runtime.client.handle import write_file
        from rfm_runtime.client.raw_files import write_exr, write_npz

        arrays = self._raw is not None or self._exr is not None
        if not arrays and self._request.max_iter:
            self.write_params(self._request)
            return
        result = operation.result(arrays=arrays)
        self.write_params(result.request)
        if self._raw is not None:
            raw = partial(write_npz, n=result.n, nf=result.nf, request=result.request)
            write_file(self._raw, raw, force=self._force)
        if self._exr is not None:
            planes = partial(write_exr, n=result.n, nf=result.nf, z=result.z, far=result.far)
            exr = partial(planes, request=result.request)
            write_file(self._exr, exr, force=self._force)


def _called(path: Path, suffix: str) -> None:
    if path.suffix.lower() != suffix:
        raise BadRequestError(f"{path} does not end with {suffix}", hint=f"name it {path.with_suffix(suffix)}")


def _text(request: RenderRequest, path: Path) -> bytes:
    from rfm_runtime.render.files.params import writer

    return writer(path.suffix)(request).encode()


def _need_exr() -> None:
    from rfm_runtime.client.raw_files import need_exr

    need_exr()
