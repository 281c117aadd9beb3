"""The paper's human PBMC with 228 surface proteins (Hao et al. 2021)."""

import pandas as pd

from ..reading import log1p, matrix_market, need_cells, need_columns, of_form
from . import Card, Dataset, Files, Signal, assemble, register


@register("pbmc")
def pbmc(card: Card, files: Files, signal: str) -> Dataset:
    """Load Hao et al. 2021, 3' cells: two matrices [genes, cells] and [proteins, cells], and the cells' annotation.

    Counts are whole in the files. The signal is log1p of the protein counts, or the finest cell type, "celltype.l3".
    """
    meta = files["GSE164378_sc.meta.data_3P.csv.gz"]
    with of_form(meta):
        obs = pd.read_csv(meta, index_col=0)
    counts, cells, genes = matrix_market(files, "GSM5008737_RNA_3P")
    need_columns(obs, ["celltype.l3"], meta)
    need_cells(cells, obs.index, meta)
    obs = obs.loc[cells]
    if signal == "celltype.l3":
        found = Signal(signal, "label", obs[signal].fillna("").to_numpy(dtype=str))
    else:
        proteins, protein_cells, _ = matrix_market(files, "GSM5008738_ADT_3P")
        need_cells(cells, protein_cells, files["GSM5008738_ADT_3P-barcodes.tsv.gz"])
        rows = protein_cells.get_indexer(cells)
        found = Signal(signal, "vector", log1p(proteins[rows].toarray()))
    return assemble(card, counts, obs, genes, found, tolerance=0)
