"""Nine invented organisations and one federated run over them, to see the whole path before any real record is used."""
