"""The lattice library as Python calls it: loaded once, every call's status turned into an error of the tree.

Calls release the interpreter lock and use all cores. The library holds a Go runtime, which does not survive `fork`:
start child processes with `spawn` or as new programs.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedcrm.errors import FedCRMError, LibraryError, MalformedObjectError, NoiseBoundError, ParameterError

ABI_VERSION = 1
_MESSAGE_BYTES = 256
_STATUS_ARGUMENT, _STATUS_MALFORMED, _STATUS_NOISE = 1, 2, 3


class Bytes(ctypes.Structure):
    """A buffer lent to the library for one call; `kept` is what it points into."""

    kept: object
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_uint64))


class Integers(ctypes.Structure):
    """A buffer of int64 lent to the library for one call."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_uint64))


_BYTES_LIST = ctypes.POINTER(Bytes)
_SIGNATURES: dict[str, list[type]] = {
    "lattice_object_size": [Bytes, ctypes.c_uint8, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64)],
    "lattice_check": [Bytes, Bytes, ctypes.c_uint8, ctypes.c_uint64],
    "lattice_deal": [Bytes, Bytes, ctypes.c_uint32, ctypes.c_uint32, Bytes],
    "lattice_encrypt": [Bytes, Bytes, Bytes, Bytes, Integers, Bytes],
    "lattice_add": [Bytes, _BYTES_LIST, ctypes.c_uint64, ctypes.c_uint8, ctypes.c_uint8, ctypes.c_uint64, Bytes],
    "lattice_open": [
        *(Bytes, Bytes, Bytes, Bytes, ctypes.c_uint64, ctypes.c_uint32),
        *(Integers, _BYTES_LIST, Bytes, Bytes),
    ],
    "lattice_combine": [Bytes, Bytes, _BYTES_LIST, ctypes.c_uint64, ctypes.c_int64, Integers],
    "lattice_noise": [Bytes, ctypes.c_uint64, Integers],
}


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded library, its functions declared."""
    path = Path(__file__).with_name("liblattice" + (".dylib" if sys.platform == "darwin" else ".so"))
    try:
        loaded = ctypes.CDLL(str(path))
        version = loaded.lattice_abi_version()
    except (OSError, AttributeError) as error:
        raise _unusable(f"the lattice library {path.name} cannot be loaded ({error})") from None
    if version != ABI_VERSION:
        raise _unusable(f"the lattice library has interface version {version}, not {ABI_VERSION}")
    for name, arguments in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = [*arguments, Bytes], ctypes.c_int32
    return loaded


def call(name: str, *arguments: object) -> None:
    """Call a function of the library; its status and message become the error raised."""
    message = ctypes.create_string_buffer(_MESSAGE_BYTES)
    lent = Bytes(ctypes.addressof(message), _MESSAGE_BYTES)
    status = getattr(library(), name)(*arguments, lent)
    if status:
        raise _failure(status, message.value.decode(errors="replace"))


def lend(data: bytes | bytearray) -> Bytes:
    """A view of the bytes that keeps them alive; of a bytearray the library may write into."""
    if isinstance(data, bytearray):
        memory = (ctypes.c_char * len(data)).from_buffer(data)
        view = Bytes(ctypes.addressof(memory), len(data))
        view.kept = memory
    else:
        view = Bytes(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data))
        view.kept = data
    return view


def lend_integers(values: NDArray[np.int64]) -> Integers:
    """A view of a contiguous int64 array."""
    return Integers(values.ctypes.data, values.size)


def lend_list(objects: Sequence[bytes]) -> ctypes.Array[Bytes]:
    """Views of several byte strings, which the caller keeps alive."""
    return (Bytes * len(objects))(*(lend(data) for data in objects))


def _failure(status: int, message: str) -> FedCRMError:
    if status == _STATUS_MALFORMED:
        return MalformedObjectError(
            message,
            why="an object that was not made by these rules can reveal what it is added to",
            fix="refuse it, name its sender, and ask for the object again",
        )
    if status == _STATUS_NOISE:
        return NoiseBoundError(
            message,
            why="a contribution or share is of another release, copied, scaled or missing, and what opened is noise",
            fix="drop this attempt; make a fresh one with holders that answered a moment ago",
        )
    if status == _STATUS_ARGUMENT:
        return ParameterError(
            message,
            why="the encryption does not guess what was meant",
            fix="pass numbers and lengths that fit the scheme's parameters",
        )
    return LibraryError(message, why="the result would not be trustworthy", fix="report this with the versions in use")


def _unusable(what: str) -> LibraryError:
    return LibraryError(
        what,
        why="nothing can be encrypted or opened without it",
        fix="install FedCRM again with `pip install .`; it compiles the library for this machine",
    )
