"""Rates of an embedded server are the settings of every runtime."""

from __future__ import annotations

import pytest

from rfm_runtime import RateLimiter
from rfm_runtime.config import Settings
from rfm_runtime.errors import BadRequestError

SETTINGS = Settings(state_dir="/s", runtime_dir="/r", cache_dir="/c")


def test_rates_are_settings():
    limited = RateLimiter(global_rate=1000, client_rate=100, operation_rate=5).applied(SETTINGS)
    assert (limited.inbound_per_s, limited.client_inbound_per_s, limited.progress_per_s) == (1000.0, 100.0, 5.0)


def test_what_is_not_given_stays():
    assert RateLimiter().applied(SETTINGS) == SETTINGS


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "fast"])
@pytest.mark.parametrize("name", ["global_rate", "client_rate", "operation_rate"])
def test_what_is_no_rate_is_refused(name, rate):
    with pytest.raises(BadRequestError, match=name):
        RateLimiter(**{name: rate})
