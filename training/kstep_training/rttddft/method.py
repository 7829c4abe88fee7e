"""Training of response networks, as :mod:`kstep_training.methods` asks for it."""

from kstep_training.rttddft.exporting import export_checkpoint as export
from kstep_training.rttddft.training import evaluate, train

__all__ = ["evaluate", "export", "train"]
