"""The paper's human PBMC with 228 surface proteins (Hao et al. 2021)."""

from ..reading import log1p, matrix_market, read_table, rows_of
from . import Card, Dataset, Files, Signal, assemble, register


@register("pbmc")
def pbmc(card: Card, files: Files, signal: str) -> Dataset:
    """Load Hao et al. 2021, 3' cells: two matrices [genes, cells] and [proteins, cells], and the cells' annotation.

    Counts are whole in the files. The signal is log1p of the protein counts, or the finest cell type, "celltype.l3".
    """
    meta = files["GSE164378_sc.meta.data_3P.csv.gz"]
    obs = read_table(meta, ["celltype.l3"], index_col=0)
    counts, cells, genes = matrix_market(files, "GSM5008737_RNA_3P")
    obs = obs.iloc[rows_of(cells, obs.index, meta)]
    if signal == "celltype.l3":
        found = Signal(signal, "label", obs[signal].fillna("").to_numpy(dtype=str))
    else:
        proteins, protein_cells, _ = matrix_market(files, "GSM5008738_ADT_3P")
        rows = rows_of(cells, protein_cells, files["GSM5008738_ADT_3P-barcodes.tsv.gz"])
        found = Signal(signal, "vector", log1p(proteins[rows].toarray()))
    return assemble(card, counts, obs, genes, found, tolerance=0)
