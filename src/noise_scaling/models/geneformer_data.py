"""Cells as ranked tokens, from counts in memory or in a store on disk, and batches of cells with masked tokens."""

import hashlib
import mmap
import tempfile
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ..counts.count_store import CountStore
from ..counts.tokens import MedianSketch, check_medians, gene_medians, rank_tokens, token_dtype
from ..errors import InputError
from .geneformer_net import MASK, Packed, Queries, pack, queries_of
from .streaming import Cells


@dataclass(frozen=True)
class Tokens:
    """Tokens of the cells that have at least one; `ids` may be memory-mapped."""

    ids: np.ndarray  # uint16 or uint32 [tokens of all cells]
    offsets: np.ndarray  # int64 [cells of the store + 1]
    rows: np.ndarray  # int64 [cells], rows of these cells in the store
    n_genes: int
    context: int  # tokens of a cell beyond this number are ignored

    @property
    def n_cells(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """Numbers of tokens of the cells, int64 [cells], from 1 to the context."""
        return self.lengths_of(slice(None))

    def lengths_of(self, cells: np.ndarray | slice) -> np.ndarray:
        """Return the lengths of some cells."""
        rows = self.rows[cells]
        return np.minimum(self.offsets[rows + 1] - self.offsets[rows], self.context)

    def digest(self) -> str:
        """Return a checksum of these cells for checkpoints: all lengths, up to a million tokens from either end."""
        digest = hashlib.blake2b(digest_size=12)
        for array in (self.rows, self.offsets, self.ids[:1_000_000], self.ids[-1_000_000:]):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


class Masked(NamedTuple):
    """A batch of cells, some of whose tokens are to be predicted."""

    batch: Packed
    places: torch.Tensor  # int64 [masked], positions in the batch's tokens
    targets: torch.Tensor  # int64 [masked], the true genes at these positions
    queries: list[Queries]  # the places, by group of cells
    weight: float = 1.0  # factor of the batch's mean loss, if the batch is a share of a larger one


def medians_of(cells: Cells | np.ndarray) -> np.ndarray:
    """Return the gene medians [genes] of cells: exact from memory, within 0.2 % from disk.

    An array is taken to be the medians themselves. InputError if it holds invalid medians, or if counts are invalid.
    """
    if isinstance(cells, np.ndarray):
        return check_medians(cells, len(cells))
    if not isinstance(cells, CountStore):
        return gene_medians(cells)
    sketch = MedianSketch(cells.shape[1])
    for chunk in cells.chunks():
        sketch.add(chunk)
    return sketch.medians()


def tokens_of(cells: Cells, medians: np.ndarray, context: int) -> Tokens:
    """Rank the genes of cells [cells, genes] by medians [genes] (`tokens.rank_tokens`).

    A token takes 2 bytes (4 beyond 65,534 genes); a cell has at most `context` tokens and takes 16 bytes more. Tokens
    of counts in memory stay in memory. Tokens of counts on disk are in an unnamed file, in `cells.folder` or else the
    system's temporary folder. InputError if counts and medians do not match, or the disk is full.
    """
    rank = _rank_to_disk if isinstance(cells, CountStore) else rank_tokens
    ids, offsets = rank(cells, medians, max_length=context)
    return Tokens(ids, offsets, np.flatnonzero(np.diff(offsets)), cells.shape[1], context)


def _rank_to_disk(cells: CountStore, medians: np.ndarray, *, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """As `rank_tokens`, block by block, with the ids in a memory-mapped file."""
    offsets, dtype = [np.zeros(1, np.int64)], token_dtype(cells.shape[1])
    with tempfile.TemporaryFile(dir=cells.folder) as file:
        for chunk in cells.chunks():
            ids, ends = rank_tokens(chunk, medians, max_length=max_length)
            try:
                file.write(ids.data)
            except OSError as error:
                where = cells.folder or tempfile.gettempdir()
                raise InputError(f"no space left in {where} for the cells' tokens: free some and run again") from error
            offsets.append(offsets[-1][-1] + ends[1:])
        file.flush()
        n = int(offsets[-1][-1])
        return np.memmap(file, dtype, mode="r") if n else np.empty(0, dtype), np.concatenate(offsets)


def usable_tokens(tokens: Tokens, *, at_least: int, what: str = "training") -> Tokens:
    """Return `tokens`; InputError if fewer than `at_least` cells have a token."""
    if tokens.n_cells < at_least:
        raise InputError(
            f"{tokens.n_cells} of {len(tokens.offsets) - 1} {what} cells have a token and at least {at_least} are "
            "needed: use more cells or a larger fraction"
        )
    return tokens


def gather(
    tokens: Tokens, cells: np.ndarray, *, at_most: int, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the tokens of some cells, shortest cell first: ids int64 [n], ranks int64 [n], lengths int64 [cells].

    `cells` are positions, int64 [cells], among the cells that have a token. Of a cell with more than `at_most` tokens
    the highest-ranked are taken or, given an `rng`, a random choice, whose tokens keep their ranks.
    """
    starts, lengths = tokens.offsets[tokens.rows[cells]], tokens.lengths_of(cells)
    order = np.argsort(lengths, kind="stable")
    starts, lengths = starts[order], lengths[order]
    kept = np.minimum(lengths, at_most)
    positions = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    if rng is not None and lengths[-1] > at_most:
        cut = lengths > at_most
        positions[-cut.sum() * at_most :] = _random_ranks(lengths[cut], at_most, rng)
    found = tokens.ids[np.repeat(starts, kept) + positions].astype(np.int64)
    if isinstance(tokens.ids, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        tokens.ids._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # the system's cache keeps it
    return found, positions, kept


def _random_ranks(lengths: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `n` different ranks below each length; ascending for each length, and concatenated."""
    keys = rng.random((len(lengths), int(lengths.max())), dtype=np.float32)
    keys[np.arange(keys.shape[1]) >= lengths[:, None]] = np.inf
    return np.sort(np.argpartition(keys, n, axis=1)[:, :n], axis=1).ravel()


def masked_batch(
    tokens: Tokens,
    cells: np.ndarray,
    *,
    at_most: int,
    rng: np.random.Generator,
    masked: float = 0.15,
    device: str = "cpu",
    share: tuple[int, int] = (0, 1),
) -> Masked:
    """Return a batch of cells with some tokens, at least one, to be predicted (Devlin et al. 2019, section 3.1).

    Of these tokens 80 % show the mask, 10 % a random gene, 10 % themselves. `share` (i, n) gives the i-th of n parts of
    the batch, with cell lengths as similar as possible; the mean of the parts' weighted losses is the batch's loss.
    """
    ids, positions, lengths = gather(tokens, cells, at_most=at_most, rng=rng)
    places = np.flatnonzero(rng.random(len(ids)) < masked)
    if not len(places):
        places = rng.integers(0, len(ids), 1)
    targets, kind = ids[places], rng.random(len(places))
    shown = np.where(kind < 0.8, tokens.n_genes + 2 + MASK, rng.integers(0, tokens.n_genes, len(places)))
    ids[places] = np.where(kind < 0.9, shown, targets)
    total = len(places)
    if share[1] > 1:
        ids, positions, lengths, places, targets = _share(*share, ids, positions, lengths, places, targets)
    weight = len(places) * share[1] / total
    wanted, right = (torch.from_numpy(a).to(device, non_blocking=True) for a in (places, targets))
    batch = pack(ids, positions, lengths, device)
    return Masked(batch, wanted, right, queries_of(places, batch, device), weight)


def _share(i: int, n: int, ids: np.ndarray, positions: np.ndarray, lengths: np.ndarray, places: np.ndarray,
           targets: np.ndarray) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Select every n-th cell of a batch, starting with the i-th."""
    mine = np.repeat(np.arange(len(lengths)) % n == i, lengths)
    places_mine = mine[places]
    moved = np.cumsum(mine) - 1
    return ids[mine], positions[mine], lengths[i::n], moved[places[places_mine]], targets[places_mine]
