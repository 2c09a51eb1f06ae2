"""One file for arrays and plain values: safetensors, with JSON in its header.

Reading one executes nothing: the format is a length, a JSON text and bytes. What is
written and read is a tree: dicts of dicts, of arrays and of whatever JSON knows. An
array may be a value of a dict, not of a list.
"""

import glob
import json
import os
import secrets
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

KEY = "skcgmvae"
SEPARATOR = "/"
DRAFT = ".{name}.{mark}.tmp"


class DamagedFileError(ValueError):
    """A file that is not, or no longer, what was written."""


def write_tree(path, tree):
    """Write a tree to ``path``, whole or not at all.

    Parameters
    ----------
    path : path-like
        An existing file is replaced in one step, at the very end.
    tree : dict
        With keys of text, without ``"/"`` in those that lead to an array.

    Raises
    ------
    OSError
        If it cannot be written. The file that was there is untouched.
    """
    path = Path(path).resolve()  # the file that a link means, not the link
    arrays = {}
    text = json.dumps(_without_arrays(tree, arrays), default=_python_number)
    metadata = {KEY: text, "checksum": _checksum(text, arrays)}
    # In the same folder, for a file moves in one step only within a file system.
    draft = path.with_name(DRAFT.format(name=path.name, mark=secrets.token_hex(4)))
    try:
        with open(draft, "xb") as file:
            file.write(save(arrays, metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # not the draft's
        raise
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def remove_drafts(path):
    """Remove what a process that was killed while it wrote ``path`` has left."""
    path = Path(path).resolve()
    for draft in path.parent.glob(DRAFT.format(name=glob.escape(path.name), mark="*")):
        with suppress(OSError):
            draft.unlink()


def read_tree(path):
    """The tree that :func:`write_tree` wrote, arrays as numpy's.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    OSError
        If there is no such file, or it may not be read.
    DamagedFileError
        If the file is of another kind, cut off or altered.
    """
    with open(path, "rb"):
        pass  # Python's errors name the file
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise DamagedFileError(
            f"{path} is no file of this package, or is cut off ({error})."
        ) from error
    text = metadata.get(KEY, "")
    if metadata.get("checksum") != _checksum(text, arrays):
        raise DamagedFileError(
            f"{path} is no file of this package, or was altered: its checksum is not "
            "that of its content."
        )
    return _with_arrays(_parsed(path, text), arrays)


def as_tensors(tree):
    """The same tree with torch's tensors, of the same memory, in place of arrays."""
    if isinstance(tree, dict):
        return {key: as_tensors(value) for key, value in tree.items()}
    return torch.from_numpy(tree) if isinstance(tree, np.ndarray) else tree


def _parsed(path, text):
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} holds no readable JSON ({error}).") from error
    if not isinstance(tree, dict):
        kind = type(tree).__name__
        raise DamagedFileError(f"{path} holds a {kind}, not a JSON object.")
    return tree


def _python_number(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is neither an array nor known to JSON.")


def _without_arrays(tree, arrays, path=""):
    """The tree without its arrays, which go to ``arrays`` under their path."""
    plain = {}
    for key, value in tree.items():
        if torch.is_tensor(value):
            value = value.detach().cpu().numpy()
        if isinstance(value, np.ndarray):
            native = value.dtype.newbyteorder("=")  # the format knows no other
            value = np.ascontiguousarray(value, dtype=native).reshape(value.shape)
            arrays[path + key] = value
        elif isinstance(value, dict):
            plain[key] = _without_arrays(value, arrays, path + key + SEPARATOR)
        else:
            plain[key] = value
    return plain


def _with_arrays(tree, arrays):
    for path, array in arrays.items():
        *parents, name = path.split(SEPARATOR)
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise DamagedFileError(f"The array {path!r} has no place in the file.")
        place[name] = array
    return tree


def _checksum(text, arrays):
    """Of all content; it tells of accidents, not of forgery."""
    checksum = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        described = f"{name} {array.dtype.str} {array.shape}".encode()
        checksum = zlib.crc32(described, checksum)
        checksum = zlib.crc32(array.reshape(-1).view(np.uint8), checksum)
    return f"{checksum:08x}"
