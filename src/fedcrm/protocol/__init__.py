"""The protocol's roles as states without network, disk or clock; the vault and the ledger arrive as arguments."""
