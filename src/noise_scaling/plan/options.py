"""The options of `noise-scaling plan`."""

import argparse

ASSUMED_SATURATION = 0.5
"""Half of the reads are new at the deepest measured depth, as in a library of ordinary depth."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to a parser."""
    add = parser.add_argument
    add("--dataset", help="the measured data set that is most like yours; one of those in the pilot")
    add(
        "--pilot", metavar="FILE",
        help="plan from your own pilot instead: a table of measure, a CSV with n_cells, umis_per_cell and mi_bits, or "
        "cells (.h5ad, 10x .h5), on which a small grid is measured first",
    )  # fmt: skip
    add("--signal", help="the signal, where a data set has several (default: the card's); of cells as for measure")
    add("--model", nargs="+", metavar="MODEL", help="models to compare (default: all measured; of cells pca)")
    add("--estimator", help="default or lmi (default: ours where there is one)")
    add("--measurements", metavar="TABLE", help='a measurements CSV, a folder, or "published" (default: where it is)')
    add("--without-flagged", action="store_true", help="leave the flagged rows of the published table out")
    add("--budget", type=float, help="the question: most bits for what all may cost")
    add("--bits", type=float, help="the question: the cheapest design with so many bits")
    add("--share", type=float, help="the question: the cheapest with this share of the most bits that were reached")
    add("--compare", nargs=2, metavar="CELLS:READS", help="the question: which of two designs, 20000:5000 8000:20000")
    add("--prices", metavar="FILE", help="your own price file (default: data/prices.yml)")
    add("--kit", nargs="+", metavar="NAME", help="kits of the price file to choose from (default: its default ones)")
    add("--flow-cell", nargs="+", metavar="NAME", help="its flow cells to choose from (default: all)")
    add("--cost-per-cell", type=float, help="linear prices without kits: of preparing one cell")
    add("--cost-per-million-reads", type=float, help="linear prices without kits: of a million reads")
    add("--donors", type=int, default=1, help="donors, a library each at least (default: %(default)s)")
    add("--have", metavar="CELLS:READS", help="more reads for a library that is there, of so many cells and reads each")
    add("--atlas", action="store_true", help="say what training on deep cells gives to shallow new ones")
    add("--saturation", type=float, help=f"sequencing saturation, a share (default: {ASSUMED_SATURATION:g})")
    add("--at-reads", type=float, help="reads per cell where it was seen (default: at the deepest measured depth)")
    add("--saturation-table", metavar="CSV", help="its curve instead: mean reads per cell, sequencing saturation")
    add("--usable", type=float, help="share of reads that are usable (default: the kit's)")
    add("--library-umis", type=float, help="UMIs per cell of the whole library at the deepest measured depth")
    add("--json", action="store_true", help="print JSON")
    add("--output", metavar="CSV", help="write the designs as a table for a spreadsheet")
