"""Rules as files and as sentences: what is written is read as it was, and a mistake is named where it was made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.notifying.files import FILE_LIMIT_BYTES, read, write
from rfm_runtime.core.notifying.rules import DEFAULTS
from rfm_runtime.core.notifying.sentences import quiet_text, sentence
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.notifying import WHENS, Quiet, Rule, Rules

pytestmark = pytest.mark.scenario("J121")

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
some_rules = st.builds(
    Rule,
    rule_id=st.integers(0, 10**9).map(str),
    name=text,
    is_on=st.booleans(),
    when=st.lists(st.sampled_from(WHENS), min_size=1, max_size=7).map(tuple),
    kinds=st.lists(text.filter(bool), max_size=4).map(tuple),
    text=text,
    labels=st.dictionaries(text, text, max_size=3),
    whose=st.sampled_from(["mine", "others", "anybody"]),
    at_least_s=st.floats(0, 31_536_000),
    stalled_s=st.floats(1, 31_536_000),
    priority=st.none() | st.integers(-100, 100),
    **{way: st.booleans() for way in ("toast", "tray", "sound", "voice", "urgent")},
)
some_quiet = st.builds(
    Quiet,
    from_minute=st.integers(0, 1439),
    to_minute=st.integers(0, 1439),
    days=st.lists(st.integers(0, 6), max_size=7).map(tuple),
)
all_rules = st.builds(
    Rules,
    rules=st.lists(some_rules, max_size=5, unique_by=lambda rule: rule.rule_id).map(tuple),
    quiet=st.lists(some_quiet, max_size=3).map(tuple),
)


@given(all_rules)
def test_what_is_written_is_read_as_it_was(rules: Rules) -> None:
    assert read(write(rules)) == rules


@given(some_rules, some_quiet)
def test_a_sentence_is_one_line(rule: Rule, quiet: Quiet) -> None:
    assert sentence(rule).isprintable()
    assert quiet_text(quiet).isprintable()


def test_what_rules_mean() -> None:
    assert [sentence(rule) for rule in DEFAULTS.rules] == [
        "When what is mine fails: toast, tray and sound",
        "When what is mine completes after 1 m 00 s or more: toast and tray",
        "When what is mine makes no progress for 10 m 00 s: toast",
    ]
    much = Rule(
        rule_id="x", when=("failed", "paused"), whose="anybody", kinds=("render.*", "copy"), text=" sea  valley ",
        labels={"site": "b", "run": "7"}, priority=3, toast=False, urgent=True,
    )  # fmt: skip
    assert sentence(much) == (
        "When anything of kind render.* or copy with “sea valley” labelled site=b, run=7 of priority 3 or more "
        "is paused or fails: nothing, also in quiet hours"
    )
    assert quiet_text(Quiet(from_minute=1320, to_minute=420)) == "22:00 to 07:00, every day"
    assert quiet_text(Quiet(from_minute=0, to_minute=0, days=(6, 5))) == "all day on Sat and Sun"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("rule = 3", "'rule' is no list of tables"),
        ("[[rules]]", "there is no 'rules' in a file of rules"),
        ("[[rule]\n", "the file is not valid TOML"),
        ('[[rule]]\nwhen = ["failed"]', "rule 1: Object missing required field `rule_id`"),
        ('[[rule]]\nrule_id = "a"\nwhen = ["fails"]', "rule 1 ('a'): Invalid enum value 'fails' in `when[0]`"),
        ('[[rule]]\nrule_id = "a"\nwhen = []', "rule 1 ('a'): Expected `array` of length >= 1 in `when`"),
        ('[[rule]]\nrule_id = "a"\nwhen = ["failed"]\nnoise = true', "rule 1 ('a'): there is no 'noise'"),
        (2 * '[[rule]]\nrule_id = "a"\nwhen = ["failed"]\n', "two rules have the id 'a'"),
        ('[[quiet]]\nfrom = "22:00"\nto = "25:00"', "quiet hours 1: 'to' is no time of day"),
        ('[[quiet]]\nfrom = "22:00"\nto = "07:00"\ndays = ["someday"]', "quiet hours 1: days are none"),
        ('[[quiet]]\nfrom = "22:00"\nto = "07:00"\nuntil = 3', "quiet hours 1: there is no 'until'"),
        ("#" * (FILE_LIMIT_BYTES + 1), "the file has more than 65,536 characters"),
        ("".join(f'[[quiet]]\nfrom = "0{n}:00"\nto = "07:00"\n' for n in range(9)), "the file: Expected `array` of"),
    ],
)
def test_a_mistake_is_named_where_it_was_made(written: str, said: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        read(written)
    assert refused.value.message.startswith(said)
    assert refused.value.hint


def test_days_are_taken_as_people_write_them() -> None:
    rules = read('[[quiet]]\nfrom = "9:05"\nto = "07:00"\ndays = ["Monday", "sat", "SUN"]')
    assert rules.quiet == (Quiet(from_minute=545, to_minute=420, days=(0, 5, 6)),)
