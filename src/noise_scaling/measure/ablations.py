"""Ablations: named variants of the protocol, measured to show what each single change does to the results.

The column `variant` of a row holds the variant's name, "" for the protocol. Most variants copy one published choice.
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
    """Thin each gene to floor(its total x `fraction`) molecules, drawn without replacement, as the published code does.

    The realised depth depends on how many cells are thinned together: at a fraction of 1/40, a gene with 30 molecules
    in 100 cells keeps none, but one with 6,000 in 20,000 cells keeps 150. Names are ignored: as in the published code,
    the draws depend on the other cells. Returns CSR [cells, genes] of the same dtype without explicit zeros.
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
    """Return every pair twice, once in each order, without groups: a split may separate the two copies of a pair."""
    return Aligned(np.concatenate([pair.x, pair.y]), np.concatenate([pair.y, pair.x]), None)


def in_both_orders_together(pair: Aligned) -> Aligned:
    """Return every pair twice, once in each order, with both copies in the pair's group."""
    groups = None if pair.groups is None else np.concatenate([pair.groups, pair.groups])
    return in_both_orders(pair)._replace(groups=groups)


def without_groups(pair: Aligned) -> Aligned:
    """Return the pairs without groups: a split may separate a pair from its relatives and neighbours."""
    return pair._replace(groups=None)


def thinned_beside_full(pair: Aligned) -> Aligned:
    """Keep the thinned half of the first cell's embedding, and the full-depth half of its partner's."""
    half = pair.x.shape[1] // 2
    return pair._replace(x=pair.x[:, :half], y=pair.y[:, half:])


def _as_it_is(pair: Aligned) -> Aligned:
    return pair


@dataclass(frozen=True)
class Variant:
    """One variant: what it changes in the protocol."""

    name: str = ""  # value of the column `variant`
    about: str = "the protocol"
    full_depth: tuple[str, ...] = ()  # pools not thinned, from "train", "validation" and "test"
    thin: Callable[..., csr_matrix] = thin  # thins the other pools; arguments as `counts.thin`
    prefix: bool = True  # whether one thinning serves every N: its first N rows are the N cells thinned
    genes_full_depth: bool = False  # whether genes are chosen on all cells at full depth (`genes_from`)
    options: Mapping[str, Any] = field(default_factory=dict)  # replace the preset's; suits models with these options
    of_training: bool = False  # whether it suits trained models only
    pairing: Callable[[Aligned], Aligned] = _as_it_is  # changes the pairs that are scored
    estimator_options: Mapping[str, Any] = field(default_factory=dict)
    estimators: tuple[str, ...] | None = None  # estimators that it suits; None: all
    n_blocks: int = 0  # number of blocks (donors, tissue sections) with training cells; 0: all
    varies: str = ""  # the only random stream that uses the row's seed, the others use seed 0; "": all use it

    def suits(self, model: str) -> bool:
        """Whether the variant applies to a model or control; no variant applies to an embedding read from a file."""
        if is_brought(model):
            return not self.name
        kind = MODELS[learner(model)]
        known = all(self.options.keys() <= settings.keys() for settings in kind.PRESETS.values())
        return known and (kind.trained or not self.of_training)

    def suits_estimator(self, estimator: str) -> bool:
        """Whether the variant applies to an estimator."""
        return self.estimators is None or estimator in self.estimators

    def seed_of(self, stream: str, seed: int) -> int:
        """Seed of the stream "split", "thin", "model" or "estimator": the row's, or 0 if only another one varies."""
        return seed if self.varies in ("", stream) else 0

    @property
    def both_depths(self) -> bool:
        """Whether test cells are embedded both thinned and at full depth, because partners differ in depth."""
        return self.pairing is thinned_beside_full

    @property
    def of_the_embedding(self) -> str:
        """The variant's name if it changes the embedding, "" if it changes only the estimate."""
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
"""Every variant by name, except the families fixed_steps_N, width_N, dims_N and blocks_N, which `named` makes."""

_FAMILY = re.compile(r"(fixed_steps|width|dims|blocks)_([1-9]\d*)")


def named(name: str) -> Variant:
    """Return the variant of a name; "fixed_steps_1000" trains 1,000 steps, "width_128" and "dims_8" set a size.

    InputError if there is no such variant, or a width is not a multiple of 16 up to 1,024.
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
    """Geneformer of another width, in the small preset's proportions: feed-forward twice as wide, 32 a head."""
    heads = max(1, width // 32)
    if width % 16 or width % heads or width > 1024:
        raise InputError(
            f"variant {name!r}: a width must be a multiple of 16 that its {heads} heads share evenly, up to 1,024: "
            f"found {width}"
        )
    options = {"width": width, "feed_forward": 2 * width, "heads": heads}
    return Variant(name, f"Geneformer {width} wide", options=options)


def check(variant: Variant, models: Sequence[str], estimators: Sequence[str], data: Dataset) -> None:
    """Raise InputError if a model or estimator does not suit the variant, or the data lack what it needs."""
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
