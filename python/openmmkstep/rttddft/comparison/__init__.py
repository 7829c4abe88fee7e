"""Other ways to a trajectory or a spectrum, which the methods of this package have to be measured against."""
