"""What a response network should give, so that the response between true densities comes out right.

The matrix of f_xc between auxiliary functions, A, is not the best one: a fitted density is not quite the true one, and
where the density is low, f_xc is large. Between the true density changes it leaves 2 % of error, systematic enough for
6 % in the dipole of water. The target is therefore A plus the smallest matrix that takes this error away,

    A + p^T (G - B^T A B) p,

B being the fits of the density changes, G their true response, and p the damped pseudo-inverse of B. With a damping of
0.01, A changes by 1 %, and the dipole's error is below 1 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kstep_models.rttddft.response_file import ResponseRecord

RealArray = NDArray[np.float64]


def effective_kernels(records: ResponseRecord, damping: float) -> RealArray:
    """Targets [T,M,M] of T geometries.

    Args:
        records: with the leading axis T.
        damping: singular values of the fit below this fraction of the largest are damped.
    """
    targets = []
    for fit, kernel, response in zip(records.fit, records.kernel, records.response, strict=True):
        left, values, right = np.linalg.svd(fit, full_matrices=False)
        inverse = (right.T * (values / (values**2 + (damping * values[0]) ** 2))) @ left.T
        targets.append(kernel + inverse.T @ (response - fit.T @ kernel @ fit) @ inverse)
    return np.stack(targets)
