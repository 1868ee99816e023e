"""The privacy audit: a run's mechanism replayed with canaries, attacked, and compared with what its ledgers state."""
