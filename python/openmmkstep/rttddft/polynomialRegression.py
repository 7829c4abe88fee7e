"""Regression of a vector-valued function that is learned while it is used, with a polynomial kernel.

For a function y(x) with y(0) = 0 that is nearly linear, a Gaussian process with the covariance

    k(x, x') = u + u^2/L^2 + u^3/L^4,    u = x.x'

contains the linear, quadratic and cubic forms of x, in proportions that make them equal at |x| = L. The mean of the
process interpolates the samples. Its standard deviation says how much of x lies outside of what the samples span; for
small x it is the residual of the projection of x onto them, as in a reduced-basis method. See C. E. Rasmussen,
C. K. I. Williams, Gaussian Processes for Machine Learning (2006), chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RealArray = NDArray[np.float64]

_ORDERS = (1, 2, 3)
# Relative; directions of the samples' kernel matrix below it are round-off.
_SMALLEST = 1e-13


@dataclass(frozen=True)
class Prediction:
    """What the samples say about a point x.

    Attributes:
        value: y(x), of the shape of a sample.
        work: the integral of y(s x).x over s from 0 to 1; the change of an energy whose gradient is y.
        deviation: standard deviation, in units of that of a sample of norm one; how new the point is.
        size: prior standard deviation in the same units; |x| for small x.
    """

    value: RealArray
    work: float
    deviation: float
    size: float


class PolynomialRegression:
    """Samples (x, y) and predictions between them.

    Args:
        length: L above.
    """

    def __init__(self, length: float) -> None:
        self._length = length
        self._points: RealArray | None = None
        self._values: RealArray | None = None
        self._scale: RealArray = np.zeros(0)
        self._inverse: RealArray = np.zeros((0, 0))
        self._weights: RealArray = np.zeros((0, 0))

    def __len__(self) -> int:
        return 0 if self._points is None else len(self._points)

    def add(self, point: RealArray, value: RealArray) -> None:
        """Take in a sample; x [m] must not be zero, y [m]."""
        if self._points is None or self._values is None:
            self._points, self._values = point[None].copy(), value[None].copy()
        else:
            self._points = np.vstack([self._points, point])
            self._values = np.vstack([self._values, value])
        kernel = np.sum(self._terms(self._points @ self._points.T), axis=0)
        # Samples may differ in size by orders of magnitude: all are scaled to variance one before the inversion.
        self._scale = 1.0 / np.sqrt(np.diag(kernel))
        values, vectors = np.linalg.eigh(kernel * np.outer(self._scale, self._scale))
        kept = values > _SMALLEST * values[-1]
        self._inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
        self._weights = self._scale[:, None] * (self._inverse @ (self._scale[:, None] * self._values))

    def predict(self, point: RealArray) -> Prediction:
        """The mean and the standard deviation at x [m]."""
        prior = float(np.sum(self._terms(np.asarray(point @ point))))
        if self._points is None:
            return Prediction(np.zeros_like(point), 0.0, np.sqrt(prior), np.sqrt(prior))
        terms = self._terms(self._points @ point)
        kernel = terms.sum(axis=0)
        scaled = kernel * self._scale
        variance = prior - float(scaled @ self._inverse @ scaled)
        # A term of order p grows with s^p, its work therefore has the factor 1/(p + 1).
        averaged = np.sum([term / (order + 1) for order, term in zip(_ORDERS, terms, strict=True)], axis=0)
        return Prediction(
            kernel @ self._weights,
            float(averaged @ (self._weights @ point)),
            float(np.sqrt(max(variance, 0.0))),
            float(np.sqrt(prior)),
        )

    def _terms(self, products: RealArray) -> RealArray:
        return np.stack([products**order / self._length ** (2 * order - 2) for order in _ORDERS])
