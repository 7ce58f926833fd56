"""The merge: never backwards, never more than the total, 99 % before the outcome; rates and times that make sense."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.operations.eta import Expected
from rfm_runtime.core.operations.experience import Experience
from rfm_runtime.core.operations.progress import PACE_SAMPLES, SOURCES_LIMIT, Merge, Pace, is_committed
from rfm_runtime.protocol.history import Performance, Point
from rfm_runtime.protocol.internal import OperationMeasure, TileMeasure

TOTAL = 1000.0


def tile(counter, tile=0, done=0, *, generation=1, attempt=0, cpu_ns=0):
    return TileMeasure(generation, counter, tile, attempt, done, done * 10, cpu_ns)


def whole(counter, done, *, generation=1, committed=b"", total=TOTAL, **fields):
    return OperationMeasure(
        generation=generation, counter=counter, measured_at_ms=0, done=done, total=total, committed=committed, **fields
    )


def claimed(generation=1, shown=0.0):
    before = Merge()
    before.shown = shown
    merge = Merge(before.update("op", 0, 1, 0))
    merge.claimed(generation)
    return merge


def shown(merge, outcome=None):
    return merge.update("op", 1, 1, 0, outcome=outcome)


measures = st.one_of(
    st.builds(tile, st.integers(0, 50), st.integers(0, 9), st.integers(0, 2000), generation=st.integers(0, 2)),
    st.builds(
        whole,
        st.integers(0, 50),
        st.floats(0, 2 * TOTAL),
        generation=st.integers(0, 2),
        committed=st.binary(max_size=2),
        total=st.none() | st.floats(0, 2 * TOTAL),
    ),
)
history = st.lists(st.tuples(st.integers(0, 3), measures, st.floats(0, 5)))


@given(history)
def test_what_is_shown_never_goes_back_and_never_promises(steps):
    merge, now_s, last, rev = claimed(), 0.0, 0.0, (0, 0)
    for source, measure, elapsed_s in steps:
        now_s += elapsed_s
        merge.measured(source, measure, now_s)
        update = shown(merge)
        assert update.done >= last
        assert update.rev > rev
        assert 0.0 <= update.progress <= 99.0
        assert update.rate is None or (math.isfinite(update.rate) and update.rate >= 0.0)
        assert update.eta_ms is None or 0 <= update.eta_ms.p50 <= update.eta_ms.p90
        last, rev = update.done, update.rev


@given(history)
def test_each_message_counts_once(steps):
    merge, counted = claimed(), set()
    for source, measure, _ in steps:
        if merge.measured(source, measure, 0.0):
            assert measure.generation == 1
            assert (source, measure.counter) not in counted
            counted.add((source, measure.counter))


def test_done_is_what_is_finished_plus_what_is_in_hand():
    merge = claimed()
    merge.measured(9, whole(1, 300.0), 0.0)
    merge.measured(1, tile(1, tile=4, done=50), 0.0)
    merge.measured(2, tile(1, tile=5, done=20), 0.0)
    assert shown(merge).done == 370.0


def test_a_tile_that_two_attempts_have_in_hand_counts_once():
    merge = claimed()
    merge.measured(9, whole(1, 0.0), 0.0)
    merge.measured(1, tile(1, tile=4, done=50), 0.0)
    merge.measured(2, tile(1, tile=4, done=30, attempt=1), 0.0)
    assert shown(merge).done == 50.0


def test_a_committed_tile_is_not_counted_again():
    merge = claimed()
    merge.measured(1, tile(1, tile=9, done=100), 0.0)
    merge.measured(9, whole(1, 100.0, committed=bytes([0, 2])), 0.0)
    assert shown(merge).done == 100.0


def test_nothing_of_a_new_claim_is_shown_before_its_owners_own_report():
    merge = claimed()
    merge.measured(9, whole(5, 400.0), 0.0)
    merge.claimed(2)
    assert merge.measured(1, tile(1, done=900, generation=2), 0.0)
    assert not merge.take_dirty()
    assert shown(merge).done == 400.0
    merge.measured(9, whole(1, 10.0, generation=2), 0.0)
    assert shown(merge).done == 910.0


def test_that_it_is_stale_is_said_also_of_one_whose_owner_is_awaited():
    before = claimed()
    before.measured(9, whole(5, 400.0), 0.0)
    restored = Merge(shown(before))
    restored.stale = True
    restored.touch()
    assert restored.take_dirty()
    assert (shown(restored).done, shown(restored).stale) == (400.0, True)


def test_an_outcome_completed_is_a_hundred_percent_and_others_stay_where_they_were():
    merge = claimed()
    merge.reported(whole(1, TOTAL), 0.0)
    assert shown(merge).progress == 99.0
    assert shown(merge, "completed").progress == 100.0
    assert shown(merge, "failed").progress == 99.0


def test_the_owners_last_word_counts_whatever_its_number():
    merge = claimed()
    merge.measured(9, whole(500, 100.0), 0.0)
    merge.reported(whole(3, TOTAL), 1.0)
    assert shown(merge, "completed").done == TOTAL


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_numbers_that_are_none_are_refused(bad):
    merge = claimed()
    assert not merge.measured(9, whole(1, bad), 0.0)
    assert not merge.measured(9, whole(2, 1.0, total=bad), 0.0)
    merge.reported(whole(3, bad), 0.0)
    assert merge.owner is None


def test_counts_that_no_encoding_carries_are_capped():
    merge = claimed()
    merge.measured(9, whole(1, 1.0, iterations=2**64 - 1), 0.0)
    merge.measured(1, tile(1, done=2**60), 0.0)
    assert shown(merge).iterations == 2**63 - 1


def test_invented_sources_do_not_fill_memory():
    merge = claimed()
    counted = sum(merge.measured(source, tile(1), 0.0) for source in range(SOURCES_LIMIT + 100))
    assert counted == SOURCES_LIMIT


def test_a_source_that_floods_is_heard_once_a_second():
    merge, heard = claimed(), 0
    for tick in range(100):
        now_s, counter = tick * 0.05, tick * 1000
        heard += not merge.too_fast(1, counter, 100.0, now_s)
    assert 4 <= heard <= 6


def test_a_source_within_its_limit_is_always_heard():
    merge = claimed()
    assert not any(merge.too_fast(1, tick * 4, 100.0, tick * 0.05) for tick in range(200))


@given(st.binary(max_size=4), st.integers(0, 40))
def test_bits_are_counted_from_the_lowest(bitmap, index):
    assert is_committed(bitmap, index) == bool(int.from_bytes(bitmap, "little") >> index & 1)


@given(st.floats(0.5, 1e6), st.floats(0.05, 1.0))
def test_a_steady_rate_is_found_and_its_two_estimates_agree(rate, step_s):
    pace = Pace()
    for i in range(400):
        pace.measured(rate * i * step_s, i * step_s)
    eta = pace.eta(rate * 100.0)
    assert eta.p50 == pytest.approx(100_000, rel=0.01)
    assert eta.p90 == pytest.approx(eta.p50, rel=0.02)


def test_scattered_rates_widen_the_estimate():
    pace, done = Pace(), 0.0
    for i in range(40):
        done += 1.0 if i % 2 else 20.0
        pace.measured(done, float(i))
    eta = pace.eta(100.0)
    assert eta.p90 > 1.1 * eta.p50


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=500))
def test_samples_stay_few(steps):
    pace, now_s = Pace(), 0.0
    for step_s in steps:
        now_s += step_s
        pace.measured(now_s, now_s)
        assert len(pace._samples) <= PACE_SAMPLES + 1


def test_standing_still_in_a_pause_is_no_rate():
    pace = Pace()
    pace.measured(0.0, 0.0)
    pace.measured(100.0, 10.0)
    pace.restart()
    pace.measured(100.0, 1000.0)
    pace.measured(110.0, 1001.0)
    assert pace.eta(10.0).p50 == pytest.approx(1000, rel=0.01)


@pytest.mark.scenario("J36")
def test_what_comes_before_the_first_step_is_no_rate():
    merge = claimed()
    merge.reported(whole(1, 0.0, steps=(0, 3), message="compiling", tiles_total=4), 0.0)
    update = shown(merge)
    assert (update.message, update.eta_ms, update.progress) == ("compiling", None, 0.0)
    for number in range(4):
        merge.reported(whole(2 + number, 100.0 * number, steps=(2, 3), tiles_total=4), 1000.0 + number)
    assert shown(merge).eta_ms.p50 == pytest.approx(7000, rel=0.05)


def test_a_program_that_counts_its_steps_from_0_has_a_rate():
    merge = claimed()
    for number in range(10):
        merge.reported(whole(1 + number, 10.0 * number, steps=(0, 3)), float(number))
    assert shown(merge).eta_ms.p50 == pytest.approx(91_000, rel=0.05)


def test_work_beside_the_tiles_shows_as_iterations_until_the_owner_counts_it():
    merge = claimed()
    merge.reported(whole(1, 0.0, tiles_total=4), 0.0)
    assert merge.measured(7, TileMeasure(1, 1, 4, 1, 0, 700, 0), 0.1)
    update = merge.update("op", 1, 1, 0)
    assert (update.iterations, update.done) == (700, 0.0)
    merge.reported(whole(2, 25.0, tiles_total=4, tiles_done=1, committed=b"\x01", iterations=900), 0.2)
    assert merge.update("op", 1, 1, 0).iterations == 900
    assert merge.update("op", 1, 1, 0, outcome="canceled").iterations == 900


def test_an_attempt_that_its_owner_has_counted_is_not_counted_again():
    merge = claimed()
    merge.measured(7, tile(1, tile=3, done=40, attempt=1, cpu_ns=4_000_000_000), 0.0)
    merge.measured(0, whole(1, 0.0, iterations=400, cpu_ns=4_000_000_000, ended=((3, 1),)), 0.1)
    assert (shown(merge).iterations, shown(merge).cpu_s) == (400, 4.0)
    merge.measured(8, tile(1, tile=3, done=10, attempt=2, cpu_ns=1_000_000_000), 0.2)
    assert (shown(merge).iterations, shown(merge).cpu_s) == (500, 5.0)


def test_cpu_time_of_earlier_claims_stays_spent_and_survives_the_broker():
    merge = claimed()
    merge.measured(0, whole(1, 10.0, cpu_ns=70_000_000_000), 0.0)
    merge.claimed(2)
    again = Merge(merge.update("op", 1, 1, 0), merge.cpu_before_s)
    again.generation = 2
    again.claimed(2)
    for one in (merge, again):
        one.measured(0, whole(1, 20.0, generation=2, cpu_ns=60_000_000_000), 1.0)
        assert shown(one).cpu_s == 130.0


def rendering(tick, left_s, **fields):
    given = {"cpu_ns": int(1e9 * tick), "left_ns": int(1e9 * left_s), "tail_ns": 4_000_000_000, "tiles_total": 4}
    return whole(tick + 1, 10.0 * tick, **{**given, **fields})


@pytest.mark.scenario("J22")
def test_what_an_owner_expects_counts_less_what_is_in_hand():
    merge = claimed()
    for tick in range(20):
        merge.measured(0, rendering(tick, 50.0 - tick), float(tick))
    merge.measured(7, tile(1, tile=3, cpu_ns=2_000_000_000), 21.0)
    assert merge.expected == Expected(29.0, 4.0, 1)
    assert shown(merge).eta_ms.p50 == pytest.approx(33_000, rel=0.02)


@pytest.mark.scenario("J22")
def test_work_after_the_last_tile_is_taken_off_the_tail():
    merge = claimed()
    merge.measured(7, tile(1, tile=4, cpu_ns=500_000_000), 0.0)
    merge.measured(0, rendering(30, 0.0, tiles_done=4), 30.0)
    assert merge.expected.tail_s == 4.0
    merge.measured(7, tile(2, tile=4, cpu_ns=3_000_000_000), 33.0)
    assert merge.expected.tail_s == 1.0
    merge.measured(7, tile(3, tile=4, cpu_ns=6_000_000_000), 36.0)
    assert 0.0 < merge.expected.tail_s < 1.0
    assert shown(merge).done == 300.0


@pytest.mark.parametrize("bad", [{"left_ns": -1}, {"tail_ns": -1}, {"slots": -1}])
def test_an_owner_that_expects_nonsense_is_not_heard(bad):
    merge = claimed()
    assert not merge.measured(9, whole(1, 1.0, **bad), 0.0)


@pytest.mark.scenario("J22")
def test_the_past_answers_before_the_first_measure_moves_the_bar():
    experience = Experience()
    points = tuple(Point(1000 * t, TOTAL * t / 60) for t in range(61))
    for _ in range(3):
        experience.learn("k", "", Performance(points=points, total=TOTAL))
    merge = Merge(course=experience.course("k", ""))
    merge.claimed(1)
    merge.measured(9, whole(1, 0.0), 0.0)
    assert shown(merge).eta_ms.p50 == pytest.approx(60_000, rel=0.05)


def test_what_was_done_while_the_broker_was_away_is_no_rate():
    """Ten units a second, of which thirty came while nobody listened, and forty are in the hands of workers."""
    merge = claimed(shown=500.0)
    merge.reported(whole(1, 460.0), 0.0)
    for step in range(1, 61):
        now_s = 0.05 * step
        merge.measured(7, tile(step, done=int(70 + 10 * now_s), cpu_ns=int(7e9 + 1e9 * now_s)), now_s)
    update = shown(merge)
    assert update.rate == pytest.approx(10.0, rel=0.2)
    assert update.eta_ms.p50 == pytest.approx(1000 * (1000 - 560) / 10, rel=0.2)
    # With nothing but its own first second behind it, it says nothing rather than that.
    early = claimed(shown=500.0)
    early.reported(whole(1, 460.0), 0.0)
    early.measured(7, tile(1, done=70), 0.05)
    assert shown(early).eta_ms is None


def test_what_was_lost_with_an_owner_is_computed_again_at_the_rate_of_its_successor():
    """The bar stands where it was shown until that is reached, and the time that is left is counted down meanwhile."""
    merge = claimed(generation=2, shown=600.0)
    for step in range(61):
        now_s = 0.05 * step
        merge.measured(0, whole(step + 1, 450.0 + 40 * now_s, generation=2), now_s)
        update = shown(merge)
        assert update.done == 600.0
    assert update.eta_ms.p50 == pytest.approx(1000 * (1000 - 570) / 40, rel=0.2)
