from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.operations.feed import Feed
from rfm_runtime.protocol.operation import OperationEvent


def events(first, count):
    return tuple(
        OperationEvent(seq=seq, ts_ms=0, type="operation_paused", operation_id="op", state="paused")
        for seq in range(first, first + count)
    )


@given(head=st.integers(0, 2**40), counts=st.lists(st.integers(0, 5)))
def test_frames_are_numbered_and_each_begins_where_the_last_one_ended(head, counts):
    feed = Feed("epoch", 7, head)
    position = head
    for number, count in enumerate(counts, start=1):
        frame = feed.frame(1000, events(position + 1, count))
        assert (frame.epoch, frame.incarnation, frame.frame_no) == ("epoch", 7, number)
        assert (frame.prev_seq, frame.head_seq) == (position, position + count)
        position = frame.head_seq
        assert (feed.number, feed.head) == (number, position)
