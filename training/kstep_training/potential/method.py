"""Training of potentials, as :mod:`kstep_training.methods` asks for it."""

from kstep_training.potential.evaluation import evaluate
from kstep_training.potential.exporting import export_checkpoint as export
from kstep_training.potential.training import train

__all__ = ["evaluate", "export", "train"]
