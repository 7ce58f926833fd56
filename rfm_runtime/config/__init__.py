"""Settings and folders: `settings` is the value, `loading` resolves it from options, environment and file."""

from rfm_runtime.config.loading import Folders, Loaded, cache_home, config_file, folders, load
from rfm_runtime.config.settings import Settings

__all__ = ["Folders", "Loaded", "Settings", "cache_home", "config_file", "folders", "load"]
