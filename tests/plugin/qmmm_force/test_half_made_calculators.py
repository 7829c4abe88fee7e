"""An xTB engine whose set-up fails once: what was made until then is not used by the next calculation.

A libxtb of a page of C stands in for the real one: it fails where it is told to, and its energy is the distance of two
atoms over the accuracy that reached a calculator whose parameters were loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

LIBRARY = r"""
#include <math.h>
#include <stdlib.h>
#include <string.h>
typedef struct { int isLoaded; double accuracy, energy, distance; } Thing;
typedef void *Handle;
static int error, calls, failing, alive;
static void step(void) { if (++calls == failing) error = 1; }
void fake_fail_at(int call) { calls = 0; failing = call; }
static Handle make(void) { alive++; return calloc(1, sizeof(Thing)); }
static Handle place(Thing *molecule, const double *x) {
    molecule->distance = sqrt(pow(x[3] - x[0], 2) + pow(x[4] - x[1], 2) + pow(x[5] - x[2], 2));
    return molecule;
}
static void drop(Handle *thing) { alive--; free(*thing); *thing = 0; }
int fake_alive(void) { return alive; }
Handle xtb_newEnvironment(void) { return make(); }
Handle xtb_newCalculator(void) { return make(); }
Handle xtb_newResults(void) { return make(); }
Handle xtb_newMolecule(Handle e, const int *n, const int *z, const double *x, const double *q, const int *u,
                       const double *l, const int *p) { step(); return place(make(), x); }
void xtb_delEnvironment(Handle *h) { drop(h); }
void xtb_delCalculator(Handle *h) { drop(h); }
void xtb_delResults(Handle *h) { drop(h); }
void xtb_delMolecule(Handle *h) { drop(h); }
void xtb_updateMolecule(Handle e, Handle m, const double *x, const double *l) { step(); if (!error) place(m, x); }
int xtb_checkEnvironment(Handle e) { return error; }
void xtb_getError(Handle e, char *buffer, const int *size) { strcpy(buffer, "told to fail"); error = 0; }
void xtb_setVerbosity(Handle e, int level) {}
void xtb_setOutput(Handle e, const char *file) {}
void xtb_releaseOutput(Handle e) {}
void xtb_loadGFNFF(Handle e, Handle m, Handle c, char *f) { step(); ((Thing *)c)->isLoaded = !error; }
void xtb_loadGFN1xTB(Handle e, Handle m, Handle c, char *f) { step(); ((Thing *)c)->isLoaded = !error; }
void xtb_loadGFN2xTB(Handle e, Handle m, Handle c, char *f) { step(); ((Thing *)c)->isLoaded = !error; }
void xtb_setAccuracy(Handle e, Handle c, double a) { step(); if (!error) ((Thing *)c)->accuracy = a; }
void xtb_setElectronicTemp(Handle e, Handle c, double t) {}
void xtb_setMaxIter(Handle e, Handle c, int n) {}
void xtb_setExternalCharges(Handle e, Handle c, int *n, int *z, double *q, double *x) {}
void xtb_releaseExternalCharges(Handle e, Handle c) {}
void xtb_singlepoint(Handle e, Handle m, Handle c, Handle r) {
    Thing *calculator = c;
    ((Thing *)r)->energy = calculator->isLoaded ? ((Thing *)m)->distance / calculator->accuracy : 999;
}
void xtb_getEnergy(Handle e, Handle r, double *x) { *x = ((Thing *)r)->energy; }
void xtb_getGradient(Handle e, Handle r, double *x) { memset(x, 0, 6 * sizeof(double)); }
void xtb_getPCGradient(Handle e, Handle r, double *x) {}
void xtb_getCharges(Handle e, Handle r, double *x) { memset(x, 0, 2 * sizeof(double)); }
void xtb_getDipole(Handle e, Handle r, double *x) { memset(x, 0, 3 * sizeof(double)); }
void xtb_getNao(Handle e, Handle r, int *n) { *n = 0; }
void xtb_getOrbitalEigenvalues(Handle e, Handle r, double *x) {}
void xtb_getOrbitalOccupations(Handle e, Handle r, double *x) {}
"""

SCRIPT = """
import ctypes, json, sys
import openmm
from openmmkstep import QMMMForce, _openmmkstep

_openmmkstep.XTB_useLibrary(sys.argv[1])
fake = ctypes.CDLL(sys.argv[1])

def lines(engine, fails_at):
    fake.fake_fail_at(fails_at)
    system = openmm.System()
    for _ in range(2):
        system.addParticle(1.0)
    system.addForce(QMMMForce([0, 1], [1, 1], engine, settings={"accuracy": 0.03}))
    context = openmm.Context(system, openmm.VerletIntegrator(1), openmm.Platform.getPlatformByName("Reference"))
    for x in (0.074, 0.075, 0.076):
        context.setPositions([[0, 0, 0], [x, 0, 0]])
        try:
            energy = context.getState(energy=True).getPotentialEnergy()._value / 2625.4996394798254
            yield [round(energy * 0.03 * 0.0529177210903, 9), fake.fake_alive()]
        except openmm.OpenMMException as error:
            yield str(error)
    del context
    yield fake.fake_alive()

for engine in ("gfn2-xtb", "gfn1-xtb"):
    for fails_at in range(5):
        print(json.dumps(list(lines(engine, fails_at))))
"""


def test_the_next_calculation_is_whole(tmp_path: Path) -> None:
    (tmp_path / "xtb.c").write_text(LIBRARY)
    library = tmp_path / "libxtb.so"
    subprocess.run(["cc", "-w", "-shared", "-fPIC", "-o", library, tmp_path / "xtb.c"], check=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", SCRIPT, library]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    # The distance; environment, molecule, calculator and results, and nothing else.
    good = [[0.074, 4], [0.075, 4], [0.076, 4]]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == 10
    for number, (*answers, left) in enumerate(results):
        engine = ("gfn2-xtb", "gfn1-xtb")[number // 5]
        # The call that fails: none, the first geometry's three, or the second geometry's only one.
        failed, task = {
            0: (None, ""),
            1: (0, "set up the molecule"),
            2: (0, "load the parameters"),
            3: (0, "take the settings"),
            4: (1, "take the geometry"),
        }[number % 5]
        expected = [answer for place, answer in enumerate(good) if place != failed]
        if failed is not None:
            assert answers.pop(failed) == f"QMMMForce: {engine}: libxtb failed to {task}: told to fail"
        assert (answers, left) == (expected, 0)
