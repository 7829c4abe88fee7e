"""Regression of a vector-valued function that is learned while it is used, with a polynomial kernel.

For a function y(x) with y(0) = 0 that is nearly linear, a Gaussian process with the covariance

    k(x, x') = v + u^2/L^2 + u^3/L^4,    u = x.x',    v = u - (1 - a) (D x).(D x')

contains the linear, quadratic and cubic forms of x. With the weight a = 1, in proportions that make them equal at
|x| = L; a smaller weight says that most of the linear part was taken off beforehand for x along the orthonormal rows of
D. The mean of the process interpolates the samples. Its standard deviation says how much of x lies outside of what the
samples span; for small x it is the residual of the projection of x onto them (times the root of a along D), as in a
reduced-basis method. See C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning (2006), chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

RealArray = NDArray[np.float64]
Number = TypeVar("Number", float, RealArray)

# Relative; directions of the samples' kernel matrix below it are round-off.
_SMALLEST = 1e-13
# Relative; points that leave less outside of the span of others lie within it.
_SMALLEST_RESIDUAL = 1e-6


@dataclass(frozen=True)
class Prediction:
    """What the samples say about a point x.

    Attributes:
        value: y(x), of the shape of a sample.
        work: the integral of y(s x).x over s from 0 to 1; the change of an energy whose gradient is y.
        deviation: standard deviation, in units of that of a sample of norm one for a = 1; how new the point is.
        size: what the deviation would be with no samples and a = 1; |x| for small x.
    """

    value: RealArray
    work: float
    deviation: float
    size: float


class PolynomialRegression:
    """Samples (x, y) and predictions between them.

    Args:
        length: L above.
        linear_weight: a above, from 0 to 1.
        directions: D above [k,m]; None for all directions.
    """

    def __init__(self, length: float, linear_weight: float = 1.0, directions: RealArray | None = None) -> None:
        self._length = length
        self._weight = linear_weight
        self._directions = directions
        # Orthonormal rows that span the points.
        self._span: RealArray = np.zeros((0, 0))
        self._points: RealArray = np.zeros((0, 0))
        self._values: RealArray = np.zeros((0, 0))
        self._inside: RealArray = np.zeros((0, 0))
        self._products: RealArray = np.zeros((0, 0))
        self._inverse: RealArray = np.zeros((0, 0))
        # Points, and below them the weights of their covariances in y: both are multiplied with x.
        self._rows: RealArray = np.zeros((0, 0))

    def __len__(self) -> int:
        return len(self._points)

    def add(self, point: RealArray, value: RealArray) -> None:
        """Take in a sample; x [m] must not be zero, y [m]."""
        inside = self._along(point)
        if len(self):
            self._points = np.vstack([self._points, point])
            self._values = np.vstack([self._values, value])
            self._inside = np.vstack([self._inside, inside])
        else:
            self._points, self._values, self._inside = point[None].copy(), value[None].copy(), inside[None].copy()
        self._span = self._extended_span(point)
        products = np.empty((len(self), len(self)))
        products[:-1, :-1] = self._products
        products[-1] = products[:, -1] = self._points @ point
        self._products = products
        self._solve()

    def residual(self, point: RealArray) -> RealArray:
        """What of x [m] lies outside of the span of the samples [m]."""
        for _ in range(2 if len(self) else 0):
            # Twice, because what the first time leaves of a point nearly within the span is round-off.
            point = point - (self._span @ point) @ self._span
        return point

    def set_length(self, length: float) -> None:
        """Take another L from here on; the samples stay."""
        self._length = length
        if len(self):
            self._solve()

    @property
    def length(self) -> float:
        """L."""
        return self._length

    def set_linear_weight(self, weight: float) -> None:
        """Take another weight a of the linear part from here on; the samples stay."""
        self._weight = weight
        if len(self):
            self._solve()

    @property
    def linear_weight(self) -> float:
        """The weight a."""
        return self._weight

    def predict(self, point: RealArray) -> Prediction:
        """The mean and the standard deviation at x [m]."""
        square = float(point @ point)
        inside = self._along(point)
        higher = self._higher(square)
        prior = self._linear(square, float(inside @ inside)) + higher
        size = sqrt(square + higher)
        count = len(self._points)
        if not count:
            return Prediction(np.zeros_like(point), 0.0, sqrt(prior), size)
        products = self._rows @ point
        shared = products[:count]
        linear = self._linear(shared, self._inside @ inside)
        kernel = linear + self._higher(shared)
        variance = prior - float(kernel @ self._inverse @ kernel)
        work = float((0.5 * linear + self._higher(shared, 3, 4)) @ products[count:])
        return Prediction(kernel @ self._rows[count:], work, sqrt(max(variance, 0.0)), size)

    def _along(self, point: RealArray) -> RealArray:
        return np.zeros(0) if self._directions is None else self._directions @ point

    def _linear(self, products: Number, inside: Number) -> Number:
        """V above, from products u and those along D."""
        if self._directions is None:
            return self._weight * products
        return products - (1.0 - self._weight) * inside

    def _higher(self, u: Number, second: int = 1, third: int = 1) -> Number:
        """The quadratic and the cubic term over numbers: a term of order p grows with s^p, its work with 1/(p + 1)."""
        return u * u * (self._length**-2 / second + u * (self._length**-4 / third))

    def _extended_span(self, point: RealArray) -> RealArray:
        if len(self) == 1:
            return point[None] / np.linalg.norm(point)
        rest = self.residual(point)
        norm = np.linalg.norm(rest)
        if norm < _SMALLEST_RESIDUAL * np.linalg.norm(point):
            return self._span
        return np.vstack([self._span, rest / norm])

    def _solve(self) -> None:
        kernel = self._linear(self._products, self._inside @ self._inside.T) + self._higher(self._products)
        # Samples may differ in size by orders of magnitude: all are scaled to variance one before the inversion.
        scale = 1.0 / np.sqrt(np.diag(kernel))
        values, vectors = np.linalg.eigh(kernel * np.outer(scale, scale))
        kept = values > _SMALLEST * values[-1]
        scaled = scale[:, None] * vectors[:, kept]
        # Of the covariances as they are, not scaled.
        self._inverse = (scaled / values[kept]) @ scaled.T
        self._rows = np.vstack([self._points, self._inverse @ self._values])
