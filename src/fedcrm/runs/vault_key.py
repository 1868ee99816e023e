"""What opens a vault: 32 bytes from a key file that only its owner reads, or a passphrase through scrypt."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from fedcrm.errors import VaultDamaged, VaultKeyError

KEY_BYTES = 32
_BLOCK_SIZE, _PARALLEL = 8, 1
_LEAST_COST, _MOST_COST = 14, 22


@dataclass(frozen=True, slots=True, repr=False)
class Passphrase:
    """A passphrase. `log_cost` is log2 of scrypt's N for a new vault; an existing vault keeps its own."""

    text: str
    log_cost: int = 17


VaultKey: TypeAlias = bytes | Passphrase
"""32 secret bytes (`key_from_file`), or a passphrase."""


def write_key_file(path: Path, key: bytes) -> None:
    """Write 32 secret bytes as hex to a new file that only its owner reads (mode 0600); never overwrites."""
    _check_length(key, path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def key_from_file(path: Path) -> bytes:
    """The 32 secret bytes of a key file.

    Raises:
        VaultKeyError: it is missing, others may read it, or it does not hold 32 bytes in hex.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text("ascii")
        key = bytes.fromhex(text.strip())
    except (OSError, ValueError) as error:
        raise _unusable(path, f"cannot be read as a key ({type(error).__name__})") from None
    if mode & 0o077:
        raise _unusable(path, "may be read by others than its owner")
    _check_length(key, path)
    return key


def new_parameters(key: VaultKey) -> str:
    """What a new vault's file says about its key: its kind, and for a passphrase a fresh salt and scrypt's numbers."""
    if isinstance(key, bytes):
        return json.dumps({"kind": "file"})
    numbers = {"log_n": key.log_cost, "r": _BLOCK_SIZE, "p": _PARALLEL}
    return json.dumps({"kind": "scrypt", "salt": secrets.token_hex(16), **numbers})


def root_key(key: VaultKey, parameters: str) -> bytes:
    """The vault's 32-byte root key, from what the operator gave and what the file says.

    Raises:
        VaultKeyError: a passphrase for a vault with a key file, or the other way round.
        VaultDamaged: the parameters are not readable or out of all reason.
    """
    salt, log_n = _scrypt_numbers(parameters)
    if isinstance(key, bytes) and salt is None:
        return key
    if isinstance(key, bytes) or salt is None:
        raise VaultKeyError(
            f"this vault opens with {'a key file' if salt is None else 'a passphrase'}",
            why="what was given is the other kind, so the vault stays closed",
            fix="give the key file with --key-file" if salt is None else "leave out --key-file and give the passphrase",
        )
    return Scrypt(salt=salt, length=KEY_BYTES, n=2**log_n, r=_BLOCK_SIZE, p=_PARALLEL).derive(key.text.encode())


def _scrypt_numbers(parameters: str) -> tuple[bytes | None, int]:
    try:
        facts = json.loads(parameters)
        if facts == {"kind": "file"}:
            return None, 0
        salt, log_n = bytes.fromhex(facts["salt"]), facts["log_n"]
        if facts["kind"] != "scrypt" or len(salt) < 16 or (facts["r"], facts["p"]) != (_BLOCK_SIZE, _PARALLEL):
            raise ValueError("unknown key derivation")
        if type(log_n) is not int or not _LEAST_COST <= log_n <= _MOST_COST:
            raise ValueError("scrypt cost out of range")
    except (ValueError, KeyError, TypeError) as error:
        raise VaultDamaged(
            f"the vault's key parameters are not readable ({error})",
            why="without them its key cannot be derived",
            fix="restore the vault from its backup; the running period then counts as spent",
        ) from None
    return salt, log_n


def _check_length(key: bytes, path: Path) -> None:
    if len(key) != KEY_BYTES:
        raise _unusable(path, f"holds {len(key)} bytes, not {KEY_BYTES}")


def _unusable(path: Path, what: str) -> VaultKeyError:
    return VaultKeyError(
        f"key file {what}",
        why="whoever knows this key can read the vault, and without it the vault stays closed",
        fix=f"restore the key file, or `chmod 600 {path}`; it holds 64 hexadecimal digits",
        where=str(path),
    )
