"""Medians, spreads and ratios within rounds."""

from __future__ import annotations

from bench.ratios import Spread, paired_ratio, spread


def test_a_spread_has_the_median_and_both_ends() -> None:
    assert spread([3.0, 1.0, 8.0]) == Spread(3.0, 1.0, 8.0, 3)
    assert spread([]) is None


def test_a_ratio_is_taken_within_each_round() -> None:
    # The machine halves its speed in the second round; each pair still says one half.
    assert paired_ratio([5.0, 10.0], [10.0, 20.0]) == Spread(0.5, 0.5, 0.5, 2)


def test_rounds_in_which_one_is_missing_do_not_count() -> None:
    assert paired_ratio([5.0, None, 6.0], [10.0, 10.0, None]) == Spread(0.5, 0.5, 0.5, 1)
    assert paired_ratio([None], [10.0]) is None
    assert paired_ratio([], [10.0]) is None


def test_a_spread_is_written_with_its_ends_unless_there_was_one_round() -> None:
    assert str(Spread(0.512, 0.498, 0.531, 3)) == "0.51 (0.50-0.53)"
    assert str(Spread(0.512, 0.512, 0.512, 1)) == "0.51"
