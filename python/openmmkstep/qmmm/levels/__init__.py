"""The levels of a mixed system: their force groups, how often they act, and what they are made of."""
