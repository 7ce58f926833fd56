"""The oracle against independently computed samples, and the kernels against the oracle."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rfm_kernels.catalog import kernel
from rfm_kernels.oracle import escape, precision_bits_for

LOCATIONS = json.loads((Path(__file__).parents[2] / "data" / "locations.json").read_text(encoding="utf-8"))
ITERATIONS_LIMIT = 40_000

SAMPLES = [
    pytest.param(place, sample, id=f"{place['id']}-{sample['dx']},{sample['dy']}")
    for place in LOCATIONS["locations"]
    for sample in place.get("oracle_samples", [])
    if place["formula"] == "mandelbrot" and sample["n"] <= ITERATIONS_LIMIT
]


@pytest.mark.parametrize(("place", "sample"), SAMPLES)
def test_the_oracle_agrees_with_the_truth_samples(place, sample) -> None:
    width = Fraction(place["width"])
    re = Fraction(place["re"]) + Fraction(sample["dx"]) * width
    im = Fraction(place["im"]) + Fraction(sample["dy"]) * width
    bits = precision_bits_for(place["width"], 1024, place["max_iter"])
    n, mu, _ = escape("mandelbrot", re, im, None, place["max_iter"], 1000.0, bits)
    assert n == sample["n"]
    assert mu == pytest.approx(sample["mu"], abs=2e-6)


@pytest.mark.parametrize("julia", [None, (-0.122561166876654, 0.744861766619744)])
def test_the_kernel_agrees_with_the_oracle(julia) -> None:
    re0, im0, spacing, max_iter = (-2.0, 1.25, 0.16, 200) if julia is None else (-1.6, 1.3, 0.17, 200)
    view = np.array([re0, im0, spacing, 0.0, 0.0, -spacing, *(julia or (0.0, 0.0))])
    nothing = np.zeros((1, 1), np.complex64)
    n, nf = np.full((16, 19), -2, np.int32), np.zeros((16, 19), np.float32)
    words = np.zeros(1, np.int64), np.zeros(8, np.int64)
    compute = kernel("mandelbrot", julia=julia is not None)
    compute(n, nf, nothing, nothing, 0, 0, 1, view, max_iter, 1e6, *words)
    for y in range(16):
        for x in range(19):
            point = re0 + spacing * x, im0 - spacing * y
            expected, mu, _ = escape("mandelbrot", *point, julia, max_iter, 1000.0, 128)
            assert n[y, x] == expected
            if expected > 0:
                assert n[y, x] + nf[y, x] == pytest.approx(mu, abs=1e-3)


def test_floats_are_the_exact_numbers_they_are() -> None:
    assert escape("mandelbrot", 0.5, 0.5, None, 50, 2.0, 64) == escape("mandelbrot", "0.5", "0.5", None, 50, 2.0, 64)


def test_an_unknown_formula_is_refused() -> None:
    with pytest.raises(ValueError, match="no oracle"):
        escape("newtom", "0", "0", None, 10, 2.0, 64)
