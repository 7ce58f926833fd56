"""What one user, and one client, may have of what a gateway takes: as the settings say, or what follows from others.

Pure.
"""

from __future__ import annotations

from rfm_runtime.config.settings import Settings

__all__ = ["SHARE", "client_messages_per_s", "user_commands_per_s", "user_crowd", "user_messages_per_s"]

SHARE = 0.75
"""Of all messages, what one user's connections may send while other users are there: these have the rest."""

USER_SHARE = 0.25
"""Of the commands that all connections could send that a user may have, what they may together: four of sixteen."""


def user_crowd(settings: Settings) -> float:
    """So many clients' commands are what a user's connections may send together, where no setting says how many."""
    return max(1.0, USER_SHARE * settings.connections_per_user)


def user_commands_per_s(settings: Settings) -> float:
    """By all connections of a user together."""
    return settings.user_commands_per_s or user_crowd(settings) * settings.commands_per_s


def user_messages_per_s(settings: Settings) -> float:
    """The same of all messages, while other users are there."""
    return settings.user_inbound_per_s or settings.inbound_per_s * SHARE


def client_messages_per_s(settings: Settings) -> float:
    """All messages of one connection."""
    return settings.client_inbound_per_s or settings.inbound_per_s / 2
