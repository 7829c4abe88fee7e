"""Fock matrices and ground states, and their parts."""
