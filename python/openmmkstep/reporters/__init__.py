"""Reporters for OpenMM's Simulation that know about k-step dynamics."""

from __future__ import annotations

from .energy_reporter import EnergyReporter
from .frame_reporter import FrameReporter
from .outer_step_reporter import OuterStepReporter
from .progress_reporter import ProgressReporter
from .statistics_reporter import StatisticsReporter

__all__ = ["EnergyReporter", "FrameReporter", "OuterStepReporter", "ProgressReporter", "StatisticsReporter"]
