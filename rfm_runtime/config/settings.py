"""The settings of a runtime: a frozen value with units in its names. Pure; the cores import it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["Settings"]

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Quota = Annotated[int, Meta(ge=0, le=2**62)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a runtime. Durations in seconds, sizes in bytes, rates per second."""

    # where
    state_dir: str
    runtime_dir: str
    cache_dir: str
    host: str = "127.0.0.1"
    port: Port = 8765
    allow_insecure: bool = False
    """Plain text off loopback. Whoever is on the way reads tokens and everything else."""
    # TLS; files in PEM
    tls_certificate: str = ""
    """Of this server, then those of the authorities in between. With it everything on the port is TLS."""
    tls_key: str = ""
    tls_client_ca: str = ""
    """Authorities whose client certificates are taken, those in between included."""
    tls_client_crl: str = ""
    """Certificates that these have revoked."""
    tls_client_auth: Literal["optional", "required"] = "optional"
    """required: nobody comes in without a client certificate, whatever token there is."""
    tls_users: str = ""
    """TOML: which user a client certificate is, and with which roles."""
    # processes
    gateways: Annotated[int, Meta(ge=1, le=64)] = 1
    workers: Annotated[int, Meta(ge=0, le=1024)] = 0
    """0: one a core this process may use."""
    slots: Annotated[int, Meta(ge=1, le=1024)] = 8
    """Operations the engine has in hand at once."""
    start_timeout_s: Positive = 60.0
    drain_timeout_s: Annotated[float, Meta(ge=0)] = 30.0
    # several hosts
    parts: Literal["all", "broker", "broker+engine", "broker+gateway", "engine", "gateway"] = "all"
    """Which processes of the runtime this host has."""
    node: str = ""
    """Name of this host among the runtime's; "" is its host name, and nothing where the broker is."""
    broker_address: str = ""
    """HOST:PORT. Where the broker is: also listen there for other hosts. Elsewhere: connect to it there."""
    broker_key: str = ""
    """Public key of the broker's host, elsewhere."""
    data_address: str = ""
    """HOST:PORT of this host at which gateways on other hosts fetch what its engine has computed."""
    # broker
    tick_s: Positive = 0.05
    feed_keepalive_s: Positive = 0.25
    cancel_repeat_s: Positive = 0.1
    cancel_deadline_s: Positive = 1.0
    stale_after_s: Positive = 3.0
    lease_s: Positive = 120.0
    interrupted: Literal["resume", "fail"] = "resume"
    """What a new start does with renders that the last runtime did not finish."""
    attempts: Count = 5
    """Claims of one operation before losing its owner fails it."""
    operations_per_user: Count = 20_000
    """That have not ended."""
    quota_running: Quota = 0
    """Of each user's operations that have not ended; 0, as for those that follow: none but operations_per_user."""
    quota_pixels: Quota = 0
    """Of each user's renders that have not ended, together."""
    quota_iterations: Quota = 0
    """The same of pixels times max_iter, which is the most that they may take."""
    quota_stored_bytes: Quota = 0
    """Of files of each user's renders, as long as these are listed (finished_keep_s): with so many no more is taken."""
    progress_per_s: Positive = 100.0
    history_events: Count = 10_000
    finished_keep: Count = 10_000
    finished_keep_s: Positive = 86_400.0
    # journal
    retention_s: Positive = 365 * 86_400.0
    """How long an operation is kept after its end; not less than finished_keep_s."""
    retention_operations: Count = 200_000
    """That have ended: the newest are kept (10 KB each at most, mostly 3); not less than finished_keep."""
    reserve_bytes: Annotated[int, Meta(ge=0)] = 8 * 1024 * 1024
    """Kept free for outcomes on a full disk; 0: nothing is."""
    # gateway
    max_hz: Annotated[float, Meta(gt=0, le=60)] = 20.0
    hello_timeout_s: Positive = 5.0
    heartbeat_s: Positive = 20.0
    write_stall_s: Positive = 5.0
    write_limit_bytes: Count = 32 * 1024
    inbound_limit_bytes: Count = 64 * 1024
    connections_per_user: Count = 16
    connections_per_address: Count = 64
    handshakes_open: Count = 512
    """Connections that have not said yet what they want; of each address connections_per_address."""
    allowed_origins: tuple[str, ...] = ()
    """Pages of others that may use the server from a browser, e.g. https://lab.example:8443."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which it is reached, besides loopback's, addresses, and the machine's own."""
    handshakes_per_s: Positive = 200.0
    commands_per_s: Positive = 50.0
    commands_burst: Count = 100
    user_commands_per_s: Annotated[float, Meta(ge=0)] = 0.0
    """Of all connections of a user, with a burst of twice that; 0: a quarter of what as many as he may have could."""
    inbound_per_s: Positive = 1000.0
    client_inbound_per_s: Annotated[float, Meta(ge=0)] = 0.0
    """Of each connection; 0: half of all."""
    user_inbound_per_s: Annotated[float, Meta(ge=0)] = 0.0
    """Of all connections of a user, while other users are there; 0: three quarters of all."""
    refused_sign_ins_per_s: Positive = 5.0
    """Of each address, with a burst of twenty seconds; above it who has shown no token has to come again later."""
    # tokens beside the runtime's own; keys are in files, never here
    token_secret_file: str = ""
    """Its content signs and checks tokens (HS256); without it the environment's RFM_TOKEN_SECRET."""
    token_previous_secret_file: str = ""
    """Accepted as well until token_previous_until; by default the secret's file with `.previous`, if there is one."""
    token_previous_until: str = ""
    """E.g. 2027-01-31T12:00:00Z; by default what the file of the previous secret says in its second line."""
    token_public_keys: str = ""
    """File of public keys, PEM or JSON Web Key Set."""
    token_jwks: str = ""
    """JSON Web Key Set of an issuer, by its address (https, or http on loopback), or a file."""
    token_algorithms: str = ""
    """Those that are allowed, with commas: HS256 for a secret; for public keys what each can be used for."""
    token_audience: str = "rfm-runtime"
    token_issuer: str = "rfm-runtime"
    token_user_claim: str = "sub"
    token_roles_claim: str = "roles"
    # observing
    resources_interval_s: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """How often each process says what it uses."""
    # logs
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def uses_tls(self) -> bool:
        """Whether everything on the port is TLS."""
        return bool(self.tls_certificate)

    @property
    def has_broker(self) -> bool:
        """Whether the broker is among the parts of this host."""
        return self.parts == "all" or self.parts.startswith("broker")

    @property
    def has_engine(self) -> bool:
        """Whether an engine is."""
        return self.parts == "all" or self.parts.endswith("engine")

    @property
    def has_gateways(self) -> bool:
        """Whether gateways are."""
        return self.parts == "all" or self.parts.endswith("gateway")

    @property
    def is_away_from_broker(self) -> bool:
        """Whether the broker is reached over the network."""
        return not self.has_broker
