"""`rfm-runtime broker | engine | gateway`: one part of a runtime on a host of its own. See docs/hosts.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rfm_runtime.cli.common import ConfigOption, RuntimeDirOption, StateDirOption, settings
from rfm_runtime.cli.start import (
    CertificateOption,
    ClientCaOption,
    DaemonOption,
    GatewaysOption,
    HostOption,
    InsecureOption,
    JsonOption,
    KeyOption,
    LogLevelOption,
    PortOption,
    WorkersOption,
    serve,
    warn,
)
from rfm_runtime.errors import BadRequestError

__all__ = ["broker", "engine", "gateway"]

BrokerOption = Annotated[
    str | None, typer.Option("--broker", metavar="HOST:PORT", help="Where the broker is: its --address.")
]
BrokerKeyOption = Annotated[
    str | None, typer.Option(metavar="KEY", help="The public key of the broker's host: `rfm-runtime keys show` there.")
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="HOST:PORT", help="An address of this host at which gateways on others reach it."),
]
NodeOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="This host among those of the runtime; by default its host name.")
]

BESIDE = {"engine": "broker+engine", "gateway": "broker+gateway"}


def _serve(parts: str, *, config: Path | None, daemon: bool, as_json: bool, **options: Any) -> None:
    """Start these parts with the settings that are given as options."""
    resolved = settings(file=config, parts=parts, **options)
    warn(resolved)
    serve(resolved, daemon=daemon, as_json=as_json, runtime_dir=options["runtime_dir"])


def broker(
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where other hosts connect: this port and the three after it."),
    ] = None,
    beside: Annotated[
        str | None, typer.Option("--with", metavar="engine|gateway", help="Have one of these on this host as well.")
    ] = None,
    data: DataOption = None,
    workers: WorkersOption = None,
    daemon: DaemonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
    log_level: LogLevelOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the broker of a runtime whose engines and gateways are on other hosts.

    They need each other's keys: `rfm-runtime keys`. `rfm-runtime start` with the setting broker_address has all parts.
    """
    if beside is not None and beside not in BESIDE:
        raise BadRequestError(f"--with {beside}: there is no such part", hint="choose engine or gateway")
    _serve(
        "broker" if beside is None else BESIDE[beside],
        config=config,
        daemon=daemon,
        as_json=as_json,
        broker_address=address,
        data_address=data,
        workers=workers,
        state_dir=state_dir,
        runtime_dir=runtime_dir,
        log_level=log_level,
    )


def engine(
    broker: BrokerOption = None,
    broker_key: BrokerKeyOption = None,
    data: DataOption = None,
    node: NodeOption = None,
    workers: WorkersOption = None,
    daemon: DaemonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
    log_level: LogLevelOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start an engine for a broker on another host: this one's cores for its renders.

    It waits for the broker, and for its own key to be allowed there.
    """
    _serve(
        "engine",
        config=config,
        daemon=daemon,
        as_json=as_json,
        broker_address=broker,
        broker_key=broker_key,
        data_address=data,
        node=node,
        workers=workers,
        state_dir=state_dir,
        runtime_dir=runtime_dir,
        log_level=log_level,
    )


def gateway(
    broker: BrokerOption = None,
    broker_key: BrokerKeyOption = None,
    node: NodeOption = None,
    host: HostOption = None,
    port: PortOption = None,
    gateways: GatewaysOption = None,
    tls_certificate: CertificateOption = None,
    tls_key: KeyOption = None,
    tls_client_ca: ClientCaOption = None,
    allow_insecure: InsecureOption = None,
    daemon: DaemonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
    log_level: LogLevelOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start gateways for a broker on another host: where watchers connect.

    They wait for the broker, and for this host's key to be allowed there.
    """
    _serve(
        "gateway",
        config=config,
        daemon=daemon,
        as_json=as_json,
        broker_address=broker,
        broker_key=broker_key,
        node=node,
        host=host,
        port=port,
        gateways=gateways,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        allow_insecure=allow_insecure,
        state_dir=state_dir,
        runtime_dir=runtime_dir,
        log_level=log_level,
    )
