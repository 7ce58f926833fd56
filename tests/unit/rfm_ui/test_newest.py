"""Of requests that follow each other too fast one is under way, and the newest of the others is the next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rfm_ui.model.newest import Newest


@given(st.lists(st.sampled_from(["want", "answered", "forget"]), max_size=60))
def test_one_is_under_way_and_the_newest_comes_next(happens: list[str]) -> None:
    newest: Newest[int] = Newest()
    under_way: int | None = None
    waiting: int | None = None
    for value, what in enumerate(happens):
        if what == "want":
            at_once = newest.want(value)
            assert at_once == (under_way is None)
            if at_once:
                under_way = value
            else:
                waiting = value
        elif what == "answered" and under_way is not None:
            following = newest.answered()
            assert following == waiting
            under_way, waiting = waiting, None
        elif what == "forget":
            newest.forget()
            waiting = None
        assert newest.is_under_way == (under_way is not None)
