"""How good a score is and how sure one can be of it, on plain arrays."""
