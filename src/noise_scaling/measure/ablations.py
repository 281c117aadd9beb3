"""Ablations: named departures from the protocol, measured beside it to say what each changes.

A variant is a row's column `variant`; "" is the protocol. Most are what the published code does, one at a time.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from ..counts import thin
from ..datasets import Dataset
from ..errors import InputError
from ..models import MODELS
from ..seeds import generator
from ..signals import Aligned
from .brought import is_brought
from .controls import learner


def thin_per_gene(
    counts: csr_matrix,
    fraction: float,
    *,
    seed: int,
    cell_ids: Sequence | None = None,
    gene_ids: Sequence | None = None,
) -> csr_matrix:
    """Thin each gene to floor(its total x `fraction`) molecules, drawn without replacement: the published way.

    So the realised depth depends on how many cells are thinned together: a gene of 30 molecules in 100 cells keeps none
    of them at a fraction of 1/40, and 150 of 6,000 in 20,000 cells. Names are not used: these draws depend on the
    company a cell is in, as the published ones do. CSR [cells, genes] of the same dtype, without explicit zeros.
    """
    rng = generator(seed, "thin_per_gene", counts.shape[0], repr(float(fraction)))
    by_gene = counts.tocsc(copy=True)
    for start, stop in zip(by_gene.indptr[:-1], by_gene.indptr[1:], strict=True):
        column = by_gene.data[start:stop].astype(np.int64)
        kept = int(column.sum() * fraction)
        by_gene.data[start:stop] = rng.multivariate_hypergeometric(column, kept, method="marginals") if kept else 0
    by_gene.eliminate_zeros()
    return by_gene.tocsr()


def in_both_orders(pair: Aligned) -> Aligned:
    """Every pair twice, once in each order, and no groups: a pair's two copies may lie on two sides of a split."""
    return Aligned(np.concatenate([pair.x, pair.y]), np.concatenate([pair.y, pair.x]), None)


def in_both_orders_together(pair: Aligned) -> Aligned:
    """Every pair twice, once in each order, both in the pair's group."""
    groups = None if pair.groups is None else np.concatenate([pair.groups, pair.groups])
    return in_both_orders(pair)._replace(groups=groups)


def without_groups(pair: Aligned) -> Aligned:
    """The pairs as they are; relatives and neighbours of a pair may lie on the other side of a split."""
    return pair._replace(groups=None)


def thinned_beside_full(pair: Aligned) -> Aligned:
    """Of embeddings that hold each cell thinned and then as it is: the first cell thinned, its partner as it is."""
    half = pair.x.shape[1] // 2
    return pair._replace(x=pair.x[:, :half], y=pair.y[:, half:])


def _as_it_is(pair: Aligned) -> Aligned:
    return pair


@dataclass(frozen=True)
class Variant:
    """What one variant changes."""

    name: str = ""  # as it stands in the table
    about: str = "the protocol"
    full_depth: tuple[str, ...] = ()  # pools left at it: of "train", "validation" and "test"
    thin: Callable[..., csr_matrix] = thin  # of the other pools: `counts.thin`, or of its arguments
    prefix: bool = True  # whether the first N of thinned cells are N cells thinned: one thinning serves every N
    genes_full_depth: bool = False  # whether they are chosen on all cells so (`genes_from` of `Model.fit`)
    options: Mapping[str, Any] = field(default_factory=dict)  # in the preset's place; it suits models that have them
    of_training: bool = False  # whether it suits trained models alone
    pairing: Callable[[Aligned], Aligned] = _as_it_is  # of embedding and signal
    estimator_options: Mapping[str, Any] = field(default_factory=dict)
    estimators: tuple[str, ...] | None = None  # that it suits; None: all
    n_blocks: int = 0  # training cells are of so many (donors, tissue sections) alone; 0: of all
    varies: str = ""  # the one random stream of the row's seed, others being those of seed 0; "": all are

    def suits(self, model: str) -> bool:
        """Whether the variant means something for a model or control; for an embedding that a file brings none does."""
        if is_brought(model):
            return not self.name
        kind = MODELS[learner(model)]
        known = all(self.options.keys() <= settings.keys() for settings in kind.PRESETS.values())
        return known and (kind.trained or not self.of_training)

    def suits_estimator(self, estimator: str) -> bool:
        """Whether the variant means something for an estimator."""
        return self.estimators is None or estimator in self.estimators

    def seed_of(self, stream: str, seed: int) -> int:
        """The seed of "split", "thin", "model" or "estimator": the row's, or 0 where another stream alone varies."""
        return seed if self.varies in ("", stream) else 0

    @property
    def both_depths(self) -> bool:
        """Whether test cells are embedded thinned and as they are, side by side: partners differ in depth."""
        return self.pairing is thinned_beside_full

    @property
    def of_the_embedding(self) -> str:
        """The variant as far as an embedding depends on it: "" where only the scoring differs."""
        estimate_only = (self.pairing is not _as_it_is and not self.full_depth) or self.estimator_options
        return "" if estimate_only else self.name


_VARIANTS = (
    Variant(),
    Variant("train_full_depth", "trained at full depth, tested on thinned cells", full_depth=("train", "validation")),
    Variant("test_full_depth", "trained on thinned cells, tested at full depth", full_depth=("test",)),
    Variant("thin_per_gene", "each gene thinned to a fixed total (published)", thin=thin_per_gene, prefix=False),
    Variant("genes_full_depth", "genes chosen at full depth, on all cells (published)", genes_full_depth=True),
    Variant("both_pair_orders", "each pair twice, folds cut through pairs (published)", pairing=in_both_orders),
    Variant("both_orders_together", "each pair twice, groups kept in one fold", pairing=in_both_orders_together),
    Variant("pairs_ungrouped", "each pair once, groups cut by folds", pairing=without_groups),
    Variant(
        "one_partner_thinned", "trained at full depth, one cell of each pair thinned",
        full_depth=("train", "validation"), pairing=thinned_beside_full,
    ),
    Variant(
        "epoch_patience", "patience counted in epochs (published)",
        options={"patience_unit": "epochs"}, of_training=True,
    ),
    Variant(
        "stop_on_scored", "the epoch chosen on the scored cells (published)",
        estimator_options={"stop_on_scored": True}, estimators=("lmi",),
    ),
    Variant("vary_split", "the split of the cells alone drawn anew", varies="split"),
    Variant("vary_thin", "the thinning alone drawn anew", varies="thin"),
    Variant("vary_model", "training, or the projection's draw, alone anew", varies="model"),
    Variant("vary_estimator", "the estimator's draws alone anew", varies="estimator"),
)  # fmt: skip
VARIANTS: dict[str, Variant] = {variant.name: variant for variant in _VARIANTS}
"""Every variant by name, but for fixed_steps_N, width_N, dims_N and blocks_N, of which there is one for every N."""

_FAMILY = re.compile(r"(fixed_steps|width|dims|blocks)_([1-9]\d*)")


def named(name: str) -> Variant:
    """The variant of this name: "fixed_steps_1000" trains so many steps, of "width_128" and "dims_8" sizes are these.

    InputError if there is none, or a width is no multiple of 16 up to 1,024.
    """
    found = _FAMILY.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        if name in VARIANTS:
            return VARIANTS[name]
        known = ", ".join(sorted(filter(None, VARIANTS)))
        raise InputError(
            f"unknown variant {name!r}: choose one of {known}, fixed_steps_N (N steps), width_N (Geneformer's), dims_N "
            "(of the embedding), blocks_N (donors or sections to train on), or '' for none"
        )
    n = int(found[2])
    if found[1] == "width":
        return _of_width(name, n)
    if found[1] == "blocks":
        return Variant(name, f"trained on cells of {n} blocks", n_blocks=n, of_training=True)
    if found[1] == "dims":
        return Variant(name, f"embedded in {n} dimensions", options={"dims": n})
    return Variant(name, f"trained for {n:,} steps", options={"fixed_steps": n}, of_training=True)


def _of_width(name: str, width: int) -> Variant:
    """Geneformer with another width, in the proportions of the small preset: twice as much between, 32 a head."""
    heads = max(1, width // 32)
    if width % 16 or width % heads or width > 1024:
        raise InputError(
            f"variant {name!r}: a width must be a multiple of 16 that its {heads} heads share evenly, up to 1,024: "
            f"found {width}"
        )
    options = {"width": width, "feed_forward": 2 * width, "heads": heads}
    return Variant(name, f"Geneformer {width} wide", options=options)


def check(variant: Variant, models: Sequence[str], estimators: Sequence[str], data: Dataset) -> None:
    """InputError for a variant that means nothing for a model or estimator, or lacks pairs, blocks or memory."""
    for what, asked, suits, known in (
        ("model", models, variant.suits, MODELS),
        ("estimator", estimators, variant.suits_estimator, variant.estimators or ()),
    ):
        wrong = [name for name in asked if not suits(name)]
        if wrong:
            sensible = " or ".join(filter(suits, known))
            raise InputError(
                f"variant {variant.name!r} means nothing for {what} {wrong[0]!r}: ask for {sensible} alone"
            )
    signal = data.signal
    if variant.pairing is not _as_it_is and signal.kind != "pair":
        raise InputError(
            f"variant {variant.name!r} needs a signal of pairs and {signal.name!r} is a {signal.kind}: "
            "choose a data set with pairs, such as larry_subset"
        )
    if variant.n_blocks and data.blocks is None:
        raise InputError(
            f"variant {variant.name!r} chooses blocks of cells (donors, tissue sections) and {data.name!r} has none: "
            "choose a data set with them, such as fucci"
        )
    if not variant.prefix and data.on_disk:
        raise InputError(
            f"variant {variant.name!r} needs all cells in memory and the counts of {data.name!r} stay on disk: "
            "choose another variant, or a smaller file"
        )
