"""The report at the end of a run: HTML, JSON and plots."""
