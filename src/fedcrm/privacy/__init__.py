"""Privacy: what a release does to records (`mechanism`), what it costs (`accountant`), who may spend it (`ledger`)."""
