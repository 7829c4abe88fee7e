"""``kstep region``: what a QM region would be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from openmmkstep.workflows.region.inspection import RegionInspection


def region(
    configuration: Annotated[Path, typer.Argument(help="YAML file of kstep run.")],
    output: Annotated[Path | None, typer.Option(help="JSON file for what the table shows.")] = None,
) -> None:
    """List residues, charge, electrons, cut bonds and link atoms of the QM region; exit code 1 if it cannot be.

    Nothing is calculated, and a region that a run would refuse is shown with the reasons and what to do about them.
    """
    from kstep_models.configuration import load_config
    from kstep_models.files import write_json
    from openmmkstep.cli.results import table_console
    from openmmkstep.workflows.config.run import RunConfig
    from openmmkstep.workflows.plan import RunPlan
    from openmmkstep.workflows.region.inspection import inspect_region

    if output is not None and not output.parent.is_dir():
        raise ValueError(f"{output.parent} is not a folder: create it, or choose another --output")
    plan = RunPlan.of(load_config(configuration, RunConfig))
    found = inspect_region(plan.system.build(), plan.system.qm)
    console = table_console()
    _show(found, console)
    if output is not None:
        write_json(output, found.to_json())
        console.print(f"region: {output.resolve()}", soft_wrap=True)
    if found.problems:
        raise typer.Exit(1)


def _show(found: RegionInspection, console: Console) -> None:
    """Print a region: what it is, its residues, its cut bonds, and what is wrong."""
    from rich.table import Table

    facts = Table(show_edge=False, show_header=False)
    links = " (with link atoms)" if found.cut_bonds else ""
    facts.add_row("atoms", f"{found.atoms} of {found.particles} particles")
    facts.add_row("formula", f"{found.formula}{links}")
    expected = "unknown" if found.force_field_charge is None else f"{found.force_field_charge:+.3f}"
    facts.add_row("charge", f"{found.charge:+d}; by the force field {expected}")
    facts.add_row("electrons", f"{found.electrons}, multiplicity {found.multiplicity}")
    box = "" if found.half_box is None else f"; half the box {found.half_box:.2f} nm"
    facts.add_row("extent", f"{found.extent:.2f} nm{box}")
    if found.charges_within_cutoff is not None:
        facts.add_row("charges it sees", f"{found.charges_within_cutoff} within the cut-off, in this structure")
    console.print(facts)
    residues = Table("residue", "atoms", "charge", "names", show_edge=False)
    for residue in found.residues:
        charge = "" if residue.charge is None else f"{residue.charge:+.4f}"
        whole = "all" if residue.atoms == residue.of else " ".join(residue.names)
        residues.add_row(residue.name, f"{residue.atoms} of {residue.of}", charge, whole)
    console.print(residues)
    if found.cut_bonds:
        ratios = {link.bond: link for link in found.link_atoms}
        bonds = Table("cut bond (QM - MM)", "link atom", "remarks", show_edge=False)
        for cut in found.cut_bonds:
            link = ratios.get(cut.name)
            place = "none" if link is None else f"{link.distance:.4f} nm, {link.ratio:.3f} of the bond"
            bonds.add_row(cut.name, place, "; ".join((*cut.obstacles, *cut.doubts)))
        console.print(bonds)
        console.print(f"charges at the MM ends: scheme '{found.charge_scheme}'")
    for color, label, lines in (
        ("bold red", "problem", found.problems),
        ("bold yellow", "warning", found.warnings),
        ("green", "proposal", found.proposals),
    ):
        for line in lines:
            console.print(f"[{color}]{label}:[/]", end=" ")
            console.print(line, markup=False, highlight=False, soft_wrap=True)
