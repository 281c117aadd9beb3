"""Embeddings of any model, computed elsewhere and read from files: `thin` writes the files that they are made from.

`thin` writes a file for each depth and seed, with the molecules that `measure` keeps there. The user runs the model and
adds its embedding to each file under one key of obsm; `measure` reads the rows of the test cells by name. The model is
called obsm:KEY. It is not trained here, so it has one row per depth and seed, at the largest number of cells.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np

from .. import counts, datasets
from ..errors import InputError
from ..files import replacing
from ..seeds import derive
from . import request

_PREFIX = "obsm:"


def is_brought(model: str) -> bool:
    """Whether a name in the column `model` stands for an embedding that is read from a file."""
    return model.startswith(_PREFIX)


def file_of(folder: Path, fraction: float, seed: int) -> Path:
    """Return the path for one depth and seed; at full depth all seeds have the same molecules and share one file."""
    return folder / ("q1.h5ad" if fraction == 1 else f"q{fraction:.12g}_seed{seed}.h5ad")


@dataclass(frozen=True)
class Brought:
    """Where embeddings are read from: a folder of files that `thin` wrote.

    Without a folder, the file `dataset` itself provides the embeddings at full depth.
    """

    dataset: str
    folder: Path | None = None

    def check(self, models: Sequence[str], variant: str) -> None:
        """Raise InputError for a folder without a model obsm:KEY, a model without a key, or a variant of a model."""
        own = [model for model in models if is_brought(model)]
        if self.folder is not None and not own:
            raise InputError(f"--embeddings {self.folder} is of no use: name the key to take with --models obsm:KEY")
        if _PREFIX in own:
            raise InputError("the model 'obsm:' names no key: write obsm:KEY, such as obsm:X_scGPT")
        if own and variant:
            raise InputError(f"variant {variant!r} changes nothing in {own[0]}, which a file brings: leave one out")

    def read(self, model: str, fraction: float, seed: int, names: np.ndarray) -> np.ndarray:
        """Return the embedding of the test cells at one depth and seed, float32 [cells, dims]."""
        thin = f"noise-scaling thin {self.dataset} --fractions {fraction:.12g} --seeds {seed} --output"
        if self.folder is None:
            if fraction != 1 or not datasets.is_own(self.dataset):
                raise InputError(
                    f"{model} at a fraction of {fraction:.12g} needs a file of its own: write it with `{thin} FOLDER`, "
                    "add the embedding, and name the folder with --embeddings"
                )
            path = Path(self.dataset).expanduser()
        elif not (path := file_of(self.folder, fraction, seed)).exists():
            raise InputError(f"no file {path} for {model}: write it with `{thin} {self.folder}`, add the embedding")
        return datasets.embedding_of(path, model.removeprefix(_PREFIX), names)


def sha256(embedding: np.ndarray) -> str:
    """Return the SHA-256 of the shape and the values of an embedding."""
    return hashlib.sha256(repr(embedding.shape).encode() + embedding.tobytes()).hexdigest()


def thin(
    file: str | Path,
    *,
    fractions: Sequence[float],
    output: str | Path,
    seeds: Sequence[int] = (0,),
    layer: str | None = None,
    round_counts: bool = False,
) -> list[Path]:
    """Write the cells of a file thinned to other depths, with the molecules that `measure` keeps at each.

    Parameters
    ----------
    file
        A file of cells, which must fit into memory, or the name of a data set.
    fractions
        Shares of the molecules to keep, in (0, 1].
    output
        The folder to write to; files of the same name are replaced.
    seeds
        The replicates that will be measured.
    layer, round_counts
        As for `datasets.load`.

    Returns
    -------
    Paths of the .h5ad files. They hold the counts in X, and obs and var of the genes unchanged; all else is left out,
    because it belongs to the full depth.

    Raises
    ------
    InputError
        If the file is not valid, a fraction is not in (0, 1], or the folder cannot be written.
    """
    ask = request.read(**locals())
    if ask.fractions is None or ask.output is None:
        raise InputError("thin needs fractions (--fractions) and a folder (--output): name them")
    request.check_folder("output", ask.output)
    if datasets.is_own(ask.file):
        cells = datasets.load_counts(Path(ask.file).expanduser(), layer=ask.layer, round_counts=ask.round_counts)
        stream = datasets.STREAM
    else:
        data = datasets.load(ask.file, layer=ask.layer, round_counts=ask.round_counts)
        cells, stream = anndata.AnnData(data.take(np.arange(data.n_cells))), data.stream
        cells.obs_names, cells.var_names = data.cell_ids, data.gene_ids
    whole, ids = cells.X, {"cell_ids": cells.obs_names.to_numpy(str), "gene_ids": cells.var_names.to_numpy(str)}
    written = []
    for path, (fraction, seed) in {file_of(ask.output, q, s): (q, s) for q in ask.fractions for s in ask.seeds}.items():
        cells.X = counts.thin(whole, fraction, seed=derive(seed, "thin", stream), **ids)
        with replacing(path) as draft:
            cells.write_h5ad(draft, compression="gzip")
        written.append(path)
    return written
