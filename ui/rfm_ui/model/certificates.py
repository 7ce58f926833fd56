"""What is wrong with a secure connection, in words of people who have never seen a certificate. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rfm_runtime.core.text import printable

__all__ = ["Explained", "Remedy", "explained"]

Remedy = Literal["choose_ca", "edit_address", "choose_certificate", "retry"]
"""What somebody can do here and now."""


@dataclass(frozen=True, slots=True)
class Explained:
    """title: what happened. text: what it means. advice: what to do. remedies: the best first."""

    title: str
    text: str
    advice: str
    remedies: tuple[Remedy, ...]


def explained(trouble: str, host: str, *, has_ca: bool = False) -> Explained | None:
    """By what `rfm_runtime.client.verifying` calls it. has_ca: a file with authorities was named. None: not known."""
    server = printable(host) or "the server"
    nothing = "Nothing was sent to it."
    match trouble:
        case "unknown_authority" | "self_signed" if has_ca:
            return Explained(
                f"{server} is not known to the authorities you have chosen",
                f"Its certificate was issued by somebody who is not in your CA file. {nothing}",
                "Choose the CA file of this very server: its operator has it, `certs init` calls it ca.pem.",
                ("choose_ca", "edit_address"),
            )
        case "unknown_authority":
            return Explained(
                f"Nobody whom this computer trusts vouches for {server}",
                f"Its certificate was issued by an authority that is not known here. {nothing}",
                "Get the file ca.pem from whoever runs the server, by a way you trust, and choose it as CA file.",
                ("choose_ca", "edit_address"),
            )
        case "self_signed":
            return Explained(
                f"{server} vouches for itself alone",
                f"Its certificate is signed by itself: anybody could have made one like it. {nothing}",
                "Get this certificate from whoever runs the server, by a way you trust, and choose it as CA file.",
                ("choose_ca", "edit_address"),
            )
        case "expired":
            return Explained(
                f"The certificate of {server} has expired",
                f"It was good until a day that is over. {nothing}",
                "Whoever runs the server has to renew it (`rfm-runtime certs renew`). Then try again. "
                "Is the date of this computer right?",
                ("retry",),
            )
        case "not_yet_valid":
            return Explained(
                f"The certificate of {server} is not valid yet",
                f"By this computer's clock it begins later. {nothing}",
                "Set the clock of this computer, and try again.",
                ("retry",),
            )
        case "wrong_name":
            return Explained(
                f"Whoever answers is not {server}",
                f"Its certificate is for another name: the address is not quite right, or somebody is in between. "
                f"{nothing}",
                "Use the name that the server has in its certificate, or have one made with this name "
                "(`rfm-runtime certs init --host NAME`).",
                ("edit_address",),
            )
        case "no_tls":
            return Explained(
                f"{server} does not speak TLS there",
                f"The address says wss://, and what listens there answers in plain text. {nothing}",
                "Use the port that speaks TLS. If the server is on this computer, or behind a tunnel, write ws://.",
                ("edit_address",),
            )
        case "tls_wanted":
            return Explained(
                f"{server} most likely wants TLS",
                "The address says ws://, and what listens there does not answer in plain text.",
                "Write the address with wss://, or check what listens on that port.",
                ("edit_address",),
            )
        case "old_tls":
            return Explained(
                f"{server} speaks no TLS that is safe today",
                f"There is no version that both would use. {nothing}",
                "Whoever runs the server has to allow TLS 1.2 or newer.",
                ("retry",),
            )
        case "client_certificate":
            return Explained(
                f"{server} does not take your certificate",
                "It wants one that it knows, and yours is missing, over, taken back, or another authority's.",
                "Choose the certificate, with its key, that you were given for this server.",
                ("choose_certificate",),
            )
        case "distrusted":
            return Explained(
                f"The certificate of {server} cannot be trusted",
                f"Something is wrong with it. {nothing}",
                "Ask whoever runs the server to look at it: `rfm-runtime certs show`.",
                ("choose_ca", "retry"),
            )
    return None
