"""Learners on plain arrays: each round asks for one bounded sum over units, then updates; predict and explain."""
