"""Threshold encryption over `lattice/`, encoding, discrete noise, signing identities and sealed values."""
