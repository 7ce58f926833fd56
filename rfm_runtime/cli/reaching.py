"""Options of every command that speaks to a server: how that is known, and who this client is.

They are what the environment says as well, so that programs which a command starts know it too.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from rfm_runtime.config import Trust

__all__ = ["reaching"]

OPTIONS = {
    "ca": (
        "RFM_CA_FILE",
        Annotated[
            str | None, typer.Option("--ca", metavar="FILE", help="Authorities of a wss:// server, PEM (RFM_CA_FILE).")
        ],
    ),
    "client_cert": (
        "RFM_CLIENT_CERT",
        Annotated[
            str | None,
            typer.Option("--client-cert", metavar="FILE", help="Client certificate, PEM (RFM_CLIENT_CERT)."),
        ],
    ),
    "client_key": (
        "RFM_CLIENT_KEY",
        Annotated[
            str | None,
            typer.Option("--client-key", metavar="FILE", help="Its key, if that is another file (RFM_CLIENT_KEY)."),
        ],
    ),
}


def reaching(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with these options."""

    @functools.wraps(command)
    def with_options(**given: Any) -> Any:
        for name, (variable, _) in OPTIONS.items():
            if (value := given.pop(name)) is not None:
                os.environ[variable] = value
        # What is wrong with them is said in plain text too, where they are not needed.
        Trust().resolved()
        return command(**given)

    signature = inspect.signature(command, eval_str=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter(name, kind, default=None, annotation=annotation) for name, (_, annotation) in OPTIONS.items()
    ]
    parameters = [parameter.replace(kind=kind) for parameter in signature.parameters.values()]
    found = signature.replace(parameters=[*parameters, *more])
    with_options.__signature__ = found  # type: ignore[attr-defined]
    with_options.__annotations__ = {name: parameter.annotation for name, parameter in found.parameters.items()}
    return with_options
