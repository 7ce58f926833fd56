"""Sessions that show a token beside a client certificate: the first of the two ends is theirs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.sessions.access import EXPIRING_MS, GRACE_MS, Grant
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.messages import AuthRefresh, Hello, Ok, TokenExpiring, Welcome
from rfm_runtime.testing.sessions import Gate, Story, Watcher

pytestmark = pytest.mark.scenario("J62", "G2")

ANN = Principal("ann", ("operator",))
ENDS_S = st.none() | st.integers(1, 200)


def begun(token_s: int | None, certificate_s: int | None, *, says_token: bool, user: bool) -> tuple[Gate, Watcher, int]:
    """user: the certificate is one's by itself. says_token: in `hello`, and not in the handshake."""
    gate = Gate(Story().answer, heartbeat_s=1000.0).boot()
    begin_ms = gate.now_ms
    token_ms, certificate_ms = (None if s is None else begin_ms + s * 1000 for s in (token_s, certificate_s))
    gate.grants["of-ann"] = Grant(ANN, token_ms, "id")
    shown = gate.grants["of-ann"] if not says_token else None
    if says_token and user and certificate_s is not None:
        shown = Grant(Principal("cat", ("viewer",)), certificate_ms, by_certificate=True)
    watcher = gate.connect(grant=shown, certificate_ends_ms=certificate_ms)
    watcher.say(Hello(token="of-ann" if says_token else None), request_id=1)
    return gate, watcher, begin_ms


@given(token_s=ENDS_S, certificate_s=ENDS_S, says_token=st.booleans(), user=st.booleans())
def test_the_first_of_two_ends_is_told_and_kept(
    token_s: int | None, certificate_s: int | None, says_token: bool, user: bool
) -> None:
    gate, watcher, begin_ms = begun(token_s, certificate_s, says_token=says_token, user=user)
    first_s = min((s for s in (token_s, certificate_s) if s is not None), default=None)
    (welcome,) = watcher.all(Welcome)
    assert welcome.user == "ann"
    if first_s is None:
        assert welcome.token_expires_at is None
        gate.ticks(300.0, 1.0)
        assert watcher.closed is None
        return
    ends_ms = begin_ms + first_s * 1000
    assert welcome.token_expires_at == ends_ms
    before_s = (ends_ms + GRACE_MS - gate.now_ms) / 1000.0 - 1.0
    gate.ticks(before_s, 0.5)
    assert watcher.closed is None
    assert watcher.all(TokenExpiring) == [TokenExpiring(ends_ms)]
    gate.ticks(3.0, 0.5)
    assert watcher.closed == CloseCode.TOKEN_EXPIRED


def test_a_fresh_token_makes_no_certificate_last_longer() -> None:
    gate, watcher, begin_ms = begun(100, 100, says_token=True, user=False)
    gate.ticks(100.0 - EXPIRING_MS / 1000.0 + 2.0, 0.5)
    assert watcher.all(TokenExpiring) == [TokenExpiring(begin_ms + 100_000)]
    gate.grants["fresh"] = Grant(ANN, begin_ms + 3_600_000, "another")
    watcher.forget()
    watcher.say(AuthRefresh("fresh"), request_id=2)
    assert len(watcher.all(Ok)) == 1
    gate.ticks(60.0, 0.5)
    # It has been said, and nothing has changed.
    assert watcher.all(TokenExpiring) == []
    assert watcher.closed is None
    gate.ticks(30.0, 0.5)
    assert watcher.closed == CloseCode.TOKEN_EXPIRED


def test_what_is_said_of_a_token_elsewhere_is_the_tokens() -> None:
    """Revoked for as long as the token lasts, and not until the certificate beside it ends."""
    gate, watcher, begin_ms = begun(3000, 100, says_token=True, user=False)
    grant = gate.core.sessions[watcher.number].grant
    assert grant is not None
    assert grant.expires_at_ms == begin_ms + 3_000_000
