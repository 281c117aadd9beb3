"""CEL-seq2 and SORT-seq benchmarks with known truth (Tian et al. 2019): mixtures of three cell lines; five lines."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..reading import integers, read_table, rows_of
from . import Card, Dataset, Files, Signal, assemble, register

_LINES = ["H1975", "H2228", "HCC827"]


@register("cell_mixtures")
def cell_mixtures(card: Card, files: Files, signal: str) -> Dataset:
    """Load 1,107 pools of nine cells, four plates. The signal is the shares of the first two of three cell lines."""
    counts, genes, obs = _plates(card, files, _LINES)
    lines = obs[_LINES].to_numpy(dtype=np.float64)
    shares = Signal(signal, "vector", (lines / lines.sum(axis=1, keepdims=True))[:, :2])
    return assemble(card, counts, obs, genes, shares)


@register("rna_mixtures")
def rna_mixtures(card: Card, files: Files, signal: str) -> Dataset:
    """Load 636 pools of RNA of three lines, by two protocols. The signal is two lines' shares, or log2 of pg of RNA."""
    shares = ["H1975_prop", "H2228_prop"]
    counts, genes, obs = _plates(card, files, [*shares, "mRNA_amount"])
    values = np.log2(obs[["mRNA_amount"]]) if signal == "amount" else obs[shares]
    return assemble(card, counts, obs, genes, Signal(signal, "vector", values.to_numpy(dtype=np.float64)))


@register("cell_lines5")
def cell_lines5(card: Card, files: Files, signal: str) -> Dataset:
    """Load single cells of five cell lines, three plates. Genotypes tell the line of a cell; doublets are left out."""
    counts, genes, obs = _plates(card, files, ["cell_line_demuxlet", "demuxlet_cls", "cell_number"])
    single = ((obs["demuxlet_cls"] == "SNG") & (obs["cell_number"] == 1)).to_numpy()
    lines = Signal(signal, "label", obs["cell_line_demuxlet"].to_numpy(dtype=str)[single])
    return assemble(card, counts[single], obs[single], genes, lines)


def _plates(card: Card, files: Files, columns: list[str]) -> tuple[sp.csr_matrix, np.ndarray, pd.DataFrame]:
    """Read counts [cells, genes] of the genes that all plates share, the genes' names, and the cells' metadata."""
    by_name = {path.name: path for path in files.values()}  # two of the data sets lie in the folder of the third
    tables, known = [], []
    for table in (path for name, path in by_name.items() if name.endswith(".count.csv.gz")):
        plate = table.name.removesuffix(".count.csv.gz")
        meta = by_name[f"{plate}.metadata.csv.gz"]
        counts, obs = read_table(table, index_col=0), read_table(meta, columns, index_col=0)
        tables.append(counts)
        known.append(obs.iloc[rows_of(counts.columns, obs.index, meta)].set_axis(f"{plate}_" + counts.columns))
    shared = pd.concat(tables, axis=1, join="inner").sort_index()
    counts, _ = integers(sp.csr_matrix(shared.T.to_numpy()), name=card.name, tolerance=0)
    return counts, shared.index.to_numpy(dtype=str), pd.concat(known)
