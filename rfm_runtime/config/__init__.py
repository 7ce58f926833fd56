"""Settings, folders and servers: `settings` is the value, `loading` and `destination` resolve what is meant."""

from rfm_runtime.config.destination import Destination, destination
from rfm_runtime.config.endpoints import Address, Endpoints, address
from rfm_runtime.config.loading import Folders, Loaded, cache_home, config_file, folders, load
from rfm_runtime.config.settings import Settings

__all__ = [
    "Address",
    "Destination",
    "Endpoints",
    "Folders",
    "Loaded",
    "Settings",
    "address",
    "cache_home",
    "config_file",
    "destination",
    "folders",
    "load",
]
