from __future__ import annotations

from importlib.metadata import version

from kstep_models.provenance import MODEL_PACKAGES, software_versions


def test_installed_packages_have_their_versions_and_others_are_left_out() -> None:
    assert software_versions(["numpy", "no-such-package"]) == {"numpy": version("numpy")}
    assert software_versions(MODEL_PACKAGES)["torch"] == version("torch")
