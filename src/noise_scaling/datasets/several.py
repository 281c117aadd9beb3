"""A folder of .h5ad files with the same genes, read as one data set: their cells follow file after file."""

from collections import UserDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from pandas.api.types import union_categoricals

from ..errors import InputError
from .reading import first_line


class Parts(UserDict[str, Any]):
    """A mapping that reads an element only on access, so that unused elements may be unsupported or broken."""

    def __init__(self, keys: Iterable[str], read: Callable[[str], Any]) -> None:
        super().__init__(dict.fromkeys(keys))
        self._read = read

    def __getitem__(self, key: str) -> Any:
        super().__getitem__(key)
        return self._read(key)


class Several:
    """Several files as one, with the attributes of an AnnData that the readers of this folder use.

    Only columns, layers and matrices that all files have are included. Features are those of the first file. InputError
    if two files have different genes; on access to an element, if its parts do not fit together.
    """

    raw = None

    def __init__(self, files: list[Any], paths: list[Path]) -> None:
        self.files, self.paths = files, paths
        self.var_names, self.var = files[0].var_names, files[0].var
        for file, path in zip(files, paths, strict=True):
            if not file.var_names.equals(self.var_names):
                raise InputError(
                    f"{path.name} has other genes than {paths[0].name}, or in another order: write all files of "
                    f"{path.parent} with the same genes"
                )
        self.obs_names = files[0].obs_names.append([file.obs_names for file in files[1:]])
        self.obs, self.obsm, self.layers = (self._parts(name) for name in ("obs", "obsm", "layers"))

    @property
    def X(self) -> Any:
        """Counts of all files, in memory."""
        return _joined([file.X for file in self.files], "X", self.paths)

    def stored_counts(self, element: str) -> int:
        """Number of values stored in an element that all files store cell by cell (CSR), else 0."""
        found = [file.stored_counts(element) for file in self.files]
        return sum(found) if all(found) else 0

    def _parts(self, name: str) -> Parts:
        groups = [getattr(file, name) for file in self.files]
        shared = [key for key in groups[0] if all(key in group for group in groups)]
        return Parts(shared, lambda key: _joined([group[key] for group in groups], f"{name}/{key}", self.paths))


def _joined(parts: list[Any], element: str, paths: list[Path]) -> Any:
    """Join one element of all files, file after file: columns, arrays or sparse matrices."""
    try:
        if any(part is None for part in parts):
            return None
        if sp.issparse(parts[0]):
            return sp.vstack(parts, format="csr")
        if isinstance(parts[0], pd.DataFrame):
            return pd.concat(parts)
        if all(isinstance(getattr(part, "dtype", None), pd.CategoricalDtype) for part in parts):
            return union_categoricals([pd.Categorical(part) for part in parts])
        if np.ndim(parts[0]) == 1:
            return pd.concat([pd.Series(np.asarray(part)) for part in parts], ignore_index=True)
        return np.concatenate([np.asarray(part) for part in parts])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{element} of the {len(paths)} files of {paths[0].parent} cannot be put together ({first_line(error)}): "
            "write it alike in all of them"
        ) from error
