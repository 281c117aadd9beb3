"""The parent paper's own tables (Gowri et al., arXiv 2503.02726; MIT), tidied and kept in data/published/parent."""

from collections.abc import Callable

import pandas as pd

from .. import paths
from ..errors import choose
from ..files import write_atomically
from .published import as_published

_DIGITS = "%.6g"
_MODELS = {
    "VAE": "scvi", "PCA": "pca", "RandomProjection": "random_projection", "nanoTxformer": "geneformer",
    "Geneformer": "geneformer_pretrained", "scGPT": "scgpt_pretrained", "Random projection": "random_projection",
    "Rank random projection": "ranks_random_projection",
}  # fmt: skip
"""The paper's models. Its own transformer is trained on the data; the pretrained models are by others."""
_SIGNALS = {
    "Protein MI": "protein", "Cell type coarse MI": "celltype.coarse", "Cell type fine MI": "celltype.fine",
    "Clonal MI": "clone", "Spatial neighborhood MI": "space", "protein": "protein", "cell type": "celltype",
    "celltype_coarse": "celltype.coarse", "celltype_fine": "celltype.fine",
}  # fmt: skip
_NAMES = {
    "Method": "model", "Model": "model", "model": "model", "Cell number": "n_cells", "UMI per cell": "umis_per_cell",
    "Target": "signal", "MI": "mi_bits", "Estimator": "estimator", "Encoding": "encoding", "linear": "accuracy",
    "Representation dim.": "dims", "noiseObs": "noise", "Layers": "layers", "Embedding size": "width", "Heads": "heads",
    "Extract layer": "layer", "epoch": "epoch",
}  # fmt: skip


def read_parent(name: str = "curves") -> pd.DataFrame:
    """Read one of the parent paper's tables; InputError if there is none of that name.

    "curves": 1,700 points of five signals, and 30 more with Harmony (`variant`), in our columns. Depths are those of
    the thinned counts, `fraction` is of molecules. The other tables have their own columns, with bits in `mi_bits`:
    "estimators" (on the same embeddings), "inference" (only the embedded cells thinned), "finetuning", "ranks" (against
    counts), "transformers" (sizes and layers), "simulation", "linear_probe" (bits and accuracy by epoch).
    """
    choose("table of the parent paper", name, TABLES)
    table = pd.read_csv(paths.PUBLISHED / "parent" / f"{name}.csv", keep_default_na=False)
    if name != "curves":
        return table
    depths = {"umis_per_cell_nominal": table["umis_per_cell"], "seed": 0}
    return as_published(table.assign(**depths)).assign(version="published_parent")


def _tidied(file: str) -> pd.DataFrame:
    """Read one of the paper's files with our names, without its row numbers and constant columns."""
    from ..datasets import fetch

    raw = pd.read_csv(fetch("published_parent", f"published_parent/{file}.csv"))
    table = raw.rename(columns=_NAMES).drop(columns=["Unnamed: 0", "Replicate"], errors="ignore")
    if "Quality" in table:
        numbers = table.pop("Quality").astype(str).str.removeprefix("Q").astype(float)
        table.insert(1, "fraction", numbers)
    for column, names in (("model", _MODELS), ("signal", _SIGNALS)):
        if column in table:
            table[column] = table[column].replace(names)
    return table.drop(columns="Fraction", errors="ignore")


def _curves() -> pd.DataFrame:
    parts = []
    for file, dataset, variant in (
        ("PBMC_CITEseq_scaling", "pbmc", ""), ("LARRY_scaling", "larry", ""), ("MERFISH_scaling", "merfish", ""),
        ("PBMC_CITEseq_Harmony_scaling", "pbmc", "harmony"),
    ):  # fmt: skip
        table = _tidied(file)
        signals = [column for column in table if column in _SIGNALS]
        point = [column for column in table if column not in signals]
        long = table.melt(point, signals, var_name="signal", value_name="mi_bits").replace({"signal": _SIGNALS})
        parts.append(long.assign(dataset=dataset, variant=variant))
    order = ["dataset", "signal", "model", "variant", "n_cells", "fraction", "umis_per_cell", "mi_bits"]
    return pd.concat(parts)[order].sort_values(order[:6])


def _inference() -> pd.DataFrame:
    """Thinned cells embedded by a fixed model, pretrained or trained on these cells; one file gives only full depth."""
    first, second = (
        _tidied(f"PBMC_CITEseq_inference_time_scaling{own}").assign(trained=trained)
        for own, trained in (("", "pretrained"), ("_nanoTx", "on these cells"))
    )
    first["umis_per_cell"] *= first["fraction"]
    return pd.concat([first, second])


def _transformers() -> pd.DataFrame:
    """Replace the list of losses, one per epoch, by the last loss and the number of epochs."""
    table = _tidied("Tx_param_screen")
    losses = table.pop("Val. loss").str.strip("[]").str.split(",")
    return table.assign(validation_loss=losses.str[-1].astype(float), epochs=losses.str.len())


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "curves": _curves,
    "estimators": lambda: _tidied("estimator_comparison"),
    "inference": _inference,
    "finetuning": lambda: _tidied("Finetuning_scaling"),
    "ranks": lambda: _tidied("rank_encoding_info_loss"),
    "transformers": _transformers,
    "simulation": lambda: _tidied("sim_results"),
    "linear_probe": lambda: _tidied("MI_vs_linear_probe"),
}
"""The function that makes each committed table from the paper's files."""


def main() -> None:
    """Make all tables from the paper's files, which are downloaded if needed."""
    for name, make in TABLES.items():
        text = make().to_csv(index=False, float_format=_DIGITS, lineterminator="\n")
        write_atomically(paths.PUBLISHED / "parent" / f"{name}.csv", text)


if __name__ == "__main__":
    main()
