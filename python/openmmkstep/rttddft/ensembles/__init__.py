"""Many geometries, side by side and resumable."""
