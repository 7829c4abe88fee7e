"""Running NWChem."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .density_stream import DensityStream
from .errors import NWChemMissingError, NWChemRunError
from .input_file import PERMANENT, SCRATCH, NWChemInput
from .output_file import NWChemOutput, error_message, read_output
from .restart_file import DensityMatrices, read_restart

_INSTALL = "apt-get install nwchem (Debian, Ubuntu), or conda install -c conda-forge nwchem"
_TAIL = 15
# NWChem 7.0 fails to read back a field that it has just stored in about one of two hundred runs of the same input,
# before it calculates anything.
_PASSING = "rt_tddft_field_rtdb_get: Read failed"
_ATTEMPTS = 3


@dataclass(frozen=True)
class NWChemRun:
    """A finished calculation.

    Attributes:
        output: what NWChem printed.
        densities: complex density matrices after every step, t = 0 first; only that of t = 0 unless all were asked for.
        folder: where its files are.
    """

    output: NWChemOutput
    densities: list[DensityMatrices] = field(default_factory=list)
    folder: Path = Path()


def find_nwchem(processes: int = 1, program: str = "nwchem", launcher: str = "mpirun") -> list[str]:
    """The command that starts NWChem, without its input.

    Args:
        processes: MPI processes; with one, NWChem is started without a launcher.
        program: name or path of NWChem.
        launcher: name or path of the MPI launcher.

    Raises:
        NWChemMissingError: NWChem or the launcher is not installed.
        NWChemRunError: no process.
    """
    if isinstance(processes, bool) or not isinstance(processes, int) or processes < 1:
        raise NWChemRunError(f"processes must be a positive integer, got {processes!r}")
    found = shutil.which(program)
    if found is None:
        raise NWChemMissingError(f"NWChem ({program}) is not installed or not on the PATH: {_INSTALL}")
    if processes == 1:
        return [found]
    mpirun = shutil.which(launcher)
    if mpirun is None:
        raise NWChemMissingError(
            f"{processes} processes need {launcher}, which is not installed or not on the PATH: "
            "install the MPI that NWChem was built with (apt-get install openmpi-bin), or use one process"
        )
    # Open MPI refuses to work for the superuser, as in containers, without this.
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return [mpirun, *as_root, "-np", str(processes), found]


def run_nwchem(
    job: NWChemInput,
    folder: str | os.PathLike[str],
    timeout: float | None = None,
    processes: int = 1,
    program: str = "nwchem",
) -> NWChemRun:
    """Write the input, run NWChem and read its results.

    Args:
        job: what to calculate. With ``all_densities`` every density matrix is collected while NWChem runs.
        folder: for all files, on a local disk if every density is asked for; made if it does not exist. Files of an
            earlier run with the same name are overwritten.
        timeout: seconds, after which NWChem is ended; none by default.
        processes: MPI processes.
        program: name or path of NWChem.

    Raises:
        NWChemMissingError: NWChem or the launcher is not installed.
        NWChemRunError: NWChem failed, which is reported in its own words, or ran out of time.
        NWChemOutputError: it left files that cannot be read.
    """
    command = find_nwchem(processes, program)
    folder = Path(folder).resolve()
    for name in (SCRATCH, PERMANENT):
        (folder / name).mkdir(parents=True, exist_ok=True)
    input_file, output_file = folder / f"{job.name}.nw", folder / f"{job.name}.out"
    restart_file = folder / PERMANENT / f"{job.name}.rt_restart"
    restart_file.unlink(missing_ok=True)
    input_file.write_text(job.text(), encoding="utf-8")
    with ExitStack() as stack:
        stream = stack.enter_context(DensityStream(restart_file)) if job.all_densities else None
        for attempt in range(_ATTEMPTS):
            try:
                _execute([*command, input_file.name], folder, output_file, timeout)
                break
            except NWChemRunError as error:
                if _PASSING not in str(error) or attempt == _ATTEMPTS - 1:
                    raise
        densities = stream.densities() if stream is not None else [read_restart(restart_file)]
    output = read_output(output_file)
    expected = job.steps + 1 if job.all_densities else 1
    if len(densities) != expected:
        raise NWChemRunError(
            f"{restart_file}: {len(densities)} density matrices came, expected {expected}: this NWChem may not write "
            "its restart file into a named pipe (try a local disk, or all_densities=False with snapshots=True)"
        )
    return NWChemRun(output, densities, folder)


def _execute(command: list[str], folder: Path, output_file: Path, timeout: float | None) -> None:
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    with output_file.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A group of its own, so that all MPI processes can be ended together.
            start_new_session=True,
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise NWChemRunError(
                f"NWChem was ended after {timeout:g} s, its output so far is in {output_file}: "
                "allow more time, fewer steps or more processes"
            ) from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    text = output_file.read_text(encoding="utf-8", errors="replace")
    message = error_message(text)
    if status != 0 or message:
        reason = message or "no reason given; the output ends with\n" + "\n".join(text.splitlines()[-_TAIL:])
        raise NWChemRunError(f"NWChem failed (status {status}), all of its output is in {output_file}: {reason}")
