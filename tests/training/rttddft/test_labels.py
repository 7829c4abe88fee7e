"""What networks of a response learn from."""

from __future__ import annotations

import dataclasses

import numpy as np

from kstep_training.rttddft.targets import effective_kernels
from tests.support.models import teacher


def test_labels_give_the_true_response() -> None:
    """Where auxiliary functions give another response than the true densities have, the labels give theirs; where they
    give the same, they are the matrix itself."""
    random = np.random.default_rng(4)
    fit, kernel = random.normal(size=(1, 12, 4)), random.normal(size=(1, 12, 12))
    kernel = kernel + kernel.transpose(0, 2, 1)
    exact = np.einsum("tMr,tMN,tNs->trs", fit, kernel, fit)
    true = exact + 0.1 * np.eye(4)
    record = teacher.ResponseRecord(*[np.zeros(0)] * 9)
    record = dataclasses.replace(record, fit=fit, kernel=kernel, response=true)
    labels = effective_kernels(record, 1e-6)
    np.testing.assert_allclose(np.einsum("tMr,tMN,tNs->trs", fit, labels, fit), true, atol=1e-9)
    np.testing.assert_allclose(labels, labels.transpose(0, 2, 1), atol=1e-12)
    same = effective_kernels(dataclasses.replace(record, response=exact), 0.01)
    np.testing.assert_allclose(same, kernel, atol=1e-12)
    # Fits that are next to nothing are no reason for a large label.
    fit[0, :, 3] *= 1e-9
    damped = effective_kernels(dataclasses.replace(record, fit=fit), 0.01)
    assert np.abs(damped - kernel).max() < 10.0 * np.abs(kernel).max()
