"""Engines carry the protocol's messages between roles: `local` runs all of them in one process."""
