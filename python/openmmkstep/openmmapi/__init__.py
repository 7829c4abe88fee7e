"""Python faces of the plugin's C++ classes, as OpenMM scripts use them; mirrors ``plugin/openmmapi``.

Importing this package loads the plugin.
"""

from __future__ import annotations

from openmmkstep._plugin import load_plugins

load_plugins()
