"""Places in alanine dipeptide, cut between CA and CB."""

HOST = 8
"""CA, at the MM end of the bond."""
SIDE_CHAIN = [10, 11, 12, 13]
"""CB and its hydrogen atoms."""
