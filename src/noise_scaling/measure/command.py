"""The options of `noise-scaling measure`, `noise-scaling thin` and `noise-scaling check`."""

import argparse


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `measure`."""
    add = parser.add_argument
    cells = "NAMES, or a file: .h5ad, 10x .h5 or matrix folder, .zarr, .loom (default: %(default)s)"
    add("--dataset", default="pbmc68k", help=cells)
    add(
        "--signal",
        help='the signal; own file: "obs:day" ("obs:day:number", "obs:day:label" say what it is), "obsm:protein", '
        '"features:Antibody Capture", "pairs:clone[,time]", "space:obsm/spatial[,section]"',
    )
    add("--layer", help="own file: the layer that holds counts (default: X)")
    whole = "own file: round estimated counts (EM, ambient correction) to whole ones, and say how far they were"
    add("--round", action="store_true", dest="round_counts", help=whole)
    usual = "NAMES; obsm:KEY, an embedding that files bring (default: all but the Geneformers)"
    add("--models", nargs="+", metavar="MODEL", help=usual)
    add("--embeddings", metavar="FOLDER", help="files that `thin` wrote, with the embeddings of models obsm:KEY added")
    add("--preset", default="small", help="settings of the models: NAMES (default: %(default)s)")
    add("--cell-numbers", nargs="+", metavar="N", help="training cells (default: the card's)")
    add("--fractions", nargs="+", metavar="Q", help="shares of molecules to keep (default: the card's)")
    apart = "the same of training cells alone, each with all --fractions of test cells (default: both alike)"
    add("--fractions-train", nargs="+", metavar="Q", help=apart)
    add("--seeds", nargs="+", default=[0], metavar="SEED", help="replicates (default: 0)")
    add("--estimators", nargs="+", metavar="ESTIMATOR", default=["default"], help="NAMES (default: default)")
    add("--variant", default="", help="a named ablation of the protocol: NAMES (default: none)")
    add("--n-test", metavar="N", help="test cells (default: the card's)")
    add("--n-validation", metavar="N", help="validation cells (default: the card's)")
    add("--device", default="cpu", help="cpu, cuda or auto (default: %(default)s)")
    together = "GPUs (on a CPU: processes) that train a Geneformer together (default: 1)"
    add("--devices", default=1, metavar="D", help=together)
    add("--precision", metavar="P", help="of training networks: auto, 32 or bf16 (default: the preset's)")
    add("--results", default="results/units", help="folder that keeps finished units (default: %(default)s)")
    add("--keep-embeddings", action="store_true", help="keep embeddings too, to score them again without training")
    add("--unit-seconds", metavar="S", help="stop a model at one N after S seconds; it becomes a failed row")
    add("--workers", default=1, metavar="W", help="units at a time, a process each (default: %(default)s)")
    table = "the table (default: %(default)s); one that holds other measurements is not replaced"
    add("--output", default="results/measurements.csv", help=table)


def add_thin_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `thin`."""
    add = parser.add_argument
    add("file", help="a file as for measure, or a data set's name")
    add("--fractions", nargs="+", metavar="Q", required=True, help="shares of molecules to keep")
    add("--seeds", nargs="+", default=[0], metavar="SEED", help="the replicates to be measured (default: 0)")
    add("--layer", help="the layer that holds counts (default: X)")
    add("--round", action="store_true", dest="round_counts", help="round estimated counts to whole ones")
    add("--output", required=True, metavar="FOLDER", help="where q1.h5ad, q0.1_seed0.h5ad, ... are written")


def add_check_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `check`."""
    add = parser.add_argument
    add(
        "file",
        help="a file as for measure, a data set's name, or a table of pairs: .npz with arrays x and y, or .csv with "
        "the embedding in its other columns of numbers",
    )
    add("--signal", help='the signal, as for measure: "obs:day", "obsm:protein" (default: of an .npz its array y)')
    add("--embedding", help='"obsm:KEY", or a model to be trained on the counts: NAMES (default: pca; of a table x)')
    add("--layer", help="own counts: the layer that holds them (default: X)")
    add("--round", action="store_true", dest="round_counts", help="own counts: round estimated ones to whole ones")
    add("--estimator", default="default", help="NAMES (default: default)")
    add("--seed", default=0, help="all random choices (default: %(default)s)")
    add("--output", metavar="FOLDER", help="write check.png, check.json and estimates.csv there")
    add("--json", action="store_true", help="print the verdict and every check as JSON")
