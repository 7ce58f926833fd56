"""Settings, folders and servers: `settings` is the value, `loading` and `destination` resolve what is meant."""

from rfm_runtime.config.destination import Destination, Trust, check_no_password, check_url, default_port, destination
from rfm_runtime.config.endpoints import Address, Endpoints, address
from rfm_runtime.config.environment import Unknown, unknown_variables
from rfm_runtime.config.loading import (
    BY_ITSELF,
    TLS_FILES,
    Folders,
    Loaded,
    away,
    cache_home,
    config_file,
    data_home,
    folders,
    load,
)
from rfm_runtime.config.loopback import is_loopback, is_wildcard
from rfm_runtime.config.settings import Settings

__all__ = [
    "BY_ITSELF",
    "TLS_FILES",
    "Address",
    "Destination",
    "Endpoints",
    "Folders",
    "Loaded",
    "Settings",
    "Trust",
    "Unknown",
    "address",
    "away",
    "cache_home",
    "check_no_password",
    "check_url",
    "config_file",
    "data_home",
    "default_port",
    "destination",
    "folders",
    "is_loopback",
    "is_wildcard",
    "load",
    "unknown_variables",
]
