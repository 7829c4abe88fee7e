"""Small calculations whose results are recorded in data/, and how they were recorded.

``python nwchemJobs.py`` runs NWChem and records them again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from openmmkstep.rttddft.nwchem import NWChemInput, NWChemRun, NWChemRunError, delta_for_impulse, run_nwchem

DATA = Path(__file__).resolve().parents[2] / "rttddft" / "nwchem" / "data"
TIME_STEP = 0.2
KICK = np.array([1e-4, 0.0, -2e-4])
NUMBERS = np.array([8, 1, 1])
POSITIONS = np.array([[0.0, 0.1, -0.2], [0.0, 1.43, 1.1], [0.2, -1.43, 1.1]])

_COMMON: dict[str, Any] = {
    "numbers": NUMBERS,
    "positions": POSITIONS,
    "time_step": TIME_STEP,
    "fields": delta_for_impulse(KICK, TIME_STEP),
    "all_densities": True,
}

JOBS = {
    "water_hf": NWChemInput(
        **_COMMON, basis="6-31G", functional="hf", steps=20, snapshots=True, name="water_hf", tag="kick"
    ),
    "water_pbe0": NWChemInput(**_COMMON, basis="6-31G", functional="pbe0", grid="fine", steps=20, name="water_pbe0"),
    "cation_hf": NWChemInput(
        **_COMMON, basis="6-31G*", functional="hf", steps=5, charge=1, multiplicity=2, name="cation_hf"
    ),
}


FAILING_JOB = dataclasses.replace(JOBS["water_hf"], basis="no-such-basis", name="failure")


def pyscf_molecule(job: NWChemInput) -> Any:
    """The same molecule in PySCF."""
    from pyscf import gto

    return gto.M(
        atom=list(zip(job.symbols, job.positions.tolist(), strict=True)),
        unit="bohr",
        basis=job.basis,
        charge=job.charge,
        spin=job.multiplicity - 1,
        verbose=0,
    )


def converged_mean_field(job: NWChemInput, grid_level: int = 3) -> Any:
    """The same ground state in PySCF, tightly converged."""
    from pyscf import dft, scf

    mol = pyscf_molecule(job)
    if job.functional == "hf":
        mean_field = scf.UHF(mol) if job.is_open_shell else scf.RHF(mol)
    else:
        mean_field = dft.UKS(mol) if job.is_open_shell else dft.RKS(mol)
        mean_field.xc = job.functional
        mean_field.grids.level = grid_level
    mean_field.conv_tol, mean_field.conv_tol_grad = 1e-12, 1e-9
    mean_field.kernel()
    assert mean_field.converged
    return mean_field


def _record(name: str, run: NWChemRun) -> None:
    """Keep what tests need."""
    _record_output(name, run.folder)
    shutil.copy(run.folder / f"{name}.nw", DATA / f"{name}.nw")
    for snapshot in sorted(run.folder.glob("permanent/*.ptot_ao_re.*"))[-1:]:
        shutil.copy(snapshot, DATA / snapshot.name)


def _record_output(name: str, folder: Path) -> None:
    """Keep the output, without what tells one machine or one day from another."""
    text = (folder / f"{name}.out").read_text(encoding="utf-8", errors="replace")
    text = re.sub(r"(?ms)^ +ACKNOWLEDGMENT$.*?(?=^ +Job information$)", "", text)
    text = re.sub(r"(?ms)^ +CITATION$.*?(?=^ Total times)", "", text)
    text = re.sub(r"(?m)^( +(?:hostname|program|date|compiled|source) +=).*$", r"\1 (removed)", text)
    text = re.sub(r"(?m)^.*(?:ARMCI|ORTE|openmpi).*\n", "", text).replace("/usr/share/nwchem/", "/(removed)/")
    (DATA / f"{name}.out").write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def _record_restart(name: str, content: bytes) -> None:
    text = re.sub(rb"(?m)^created .*$", b"created   (removed)", content)
    (DATA / f"{name}.rt_restart").write_bytes(text)


def main() -> None:
    """Record everything again."""
    from openmmkstep.rttddft.nwchem import density_stream

    DATA.mkdir(exist_ok=True)
    parse = density_stream.parse_restart
    for name, job in JOBS.items():
        contents: list[bytes] = []

        def keep(content: bytes, source: str, contents: list[bytes] = contents) -> Any:
            contents.append(content)
            return parse(content, source)

        density_stream.parse_restart = keep
        with tempfile.TemporaryDirectory() as folder:
            _record(name, run_nwchem(job, folder, timeout=600))
        # That of the last step, as NWChem leaves it on disk.
        _record_restart(name, contents[-1])
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(NWChemRunError):
            run_nwchem(FAILING_JOB, folder)
        _record_output(FAILING_JOB.name, Path(folder))


if __name__ == "__main__":
    main()
