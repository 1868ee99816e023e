"""What a run leaves on disk: the participant's vault (secrets and ledger) and the coordinator's run store."""
