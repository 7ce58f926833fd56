"""Which processes this host has, and whether its settings say what they need to find each other."""

from __future__ import annotations

from rfm_runtime.config import Settings, folders
from rfm_runtime.errors import ConfigError
from rfm_runtime.security import curve_keys

__all__ = ["check", "names"]


def names(settings: Settings) -> list[str]:
    """The processes, in the order of their start: an engine takes longest."""
    engine = ["engine-0"] if settings.has_engine else []
    broker = ["broker"] if settings.has_broker else []
    gateways = [f"gateway-{i}" for i in range(settings.gateways)] if settings.has_gateways else []
    return [*engine, *broker, *gateways]


def check(settings: Settings) -> None:
    """Raises ConfigError, SetupError for what a process would find out after all the others have been started."""
    if settings.is_away_from_broker:
        if not settings.broker_address:
            raise ConfigError(
                f"the {settings.parts} has to know where the broker is: broker_address is not set",
                hint="name it with --broker HOST:PORT, as `rfm-runtime broker` was told there",
            )
        if not settings.broker_key:
            raise ConfigError(
                "the broker is known by its key: broker_key is not set",
                hint="`rfm-runtime keys show` on its host prints it; give it with --broker-key",
            )
        if settings.has_engine and not settings.data_address:
            raise ConfigError(
                "gateways on other hosts have to reach this engine: data_address is not set",
                hint="name an address of this host with --data HOST:PORT",
            )
    elif settings.parts != "all":
        if not settings.broker_address:
            raise ConfigError(
                "nobody on another host can reach this broker: broker_address is not set",
                hint="name an address of this host with --address HOST:PORT; with all parts here: rfm-runtime start",
            )
        if settings.has_engine and not settings.data_address:
            raise ConfigError(
                "gateways on other hosts have to reach this host's engine: data_address is not set",
                hint="name an address of this host with --data HOST:PORT",
            )
    if settings.broker_address or settings.data_address:
        curve_keys.entrance(folders(settings).keys)
