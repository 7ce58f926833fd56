"""Settings, folders and servers: `settings` is the value, `loading` and `destination` resolve what is meant."""

from rfm_runtime.config.destination import Destination, destination
from rfm_runtime.config.loading import Folders, Loaded, cache_home, config_file, folders, load
from rfm_runtime.config.settings import Settings

__all__ = [
    "Destination",
    "Folders",
    "Loaded",
    "Settings",
    "cache_home",
    "config_file",
    "destination",
    "folders",
    "load",
]
