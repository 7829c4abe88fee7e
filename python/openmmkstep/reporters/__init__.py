"""Reporters for OpenMM's Simulation that know about k-step dynamics."""

from __future__ import annotations

from .frameReporter import FrameReporter
from .progressReporter import ProgressReporter
from .statisticsReporter import StatisticsReporter

__all__ = ["FrameReporter", "ProgressReporter", "StatisticsReporter"]
