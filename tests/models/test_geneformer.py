"""Geneformer under the protocol: it learns, embeds any cells in any order, is saved, loaded and resumed."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, vstack

from noise_scaling import models
from noise_scaling.counts.tokens import gene_medians, rank_tokens
from noise_scaling.errors import InputError
from noise_scaling.models import training
from noise_scaling.models.geneformer_data import Tokens, gather, masked_batch, tokens_of
from noise_scaling.models.geneformer_training import MaskedTraining

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {
    "width": 16,
    "feed_forward": 16,
    "context": 48,
    "max_steps": 60,
    "check_every": 20,
    "warmup": 5,
    "batch_tokens": None,
}


@pytest.fixture(scope="module")
def cells(two_kinds) -> csr_matrix:
    return two_kinds


def create(seed: int = 0, **options: object) -> models.Model:
    return models.create("geneformer", seed=seed, device="cpu", **(TINY | options))


@pytest.fixture(scope="module")
def fitted(cells):
    return create().fit(cells[:120], cells[120:160])


def test_embeds_unseen_cells_in_any_order_identically(fitted, cells):
    unseen, order = cells[160:], np.random.default_rng(1).permutation(80)
    whole = fitted.embed(unseen)
    assert whole.dtype == np.float32
    assert whole.shape == (80, 16)
    np.testing.assert_allclose(fitted.embed(unseen[order]), whole[order], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fitted.embed(unseen[5]), whole[5:6], rtol=1e-4, atol=1e-5)


def test_embedding_is_the_mean_over_tokens_of_the_layer_asked_for(fitted, cells):
    from bert_names import bert_settings, bert_weights
    from transformers import BertConfig, BertForMaskedLM

    bert = BertForMaskedLM(BertConfig(**bert_settings(fitted._net.shape))).eval()
    bert.load_state_dict(bert_weights(fitted._net))
    ids, _ = rank_tokens(cells[200:201], gene_medians(cells[:120]), max_length=48)
    with torch.no_grad():
        states = bert(input_ids=torch.tensor(ids.astype(int))[None], output_hidden_states=True).hidden_states
    last = copy.copy(fitted)
    last.settings = fitted.settings | {"layer": "last"}
    np.testing.assert_allclose(fitted.embed(cells[200:201]), states[-2].mean(1).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last.embed(cells[200:201]), states[-1].mean(1).numpy(), rtol=1e-4, atol=1e-5)


def test_empty_cells_and_unknown_genes_are_zeros(cells):
    train = cells[:120].copy().tolil()
    train[:, 7] = 0
    model = create(max_steps=20).fit(train.tocsr(), cells[120:160])
    only_gene_7 = csr_matrix((np.array([5], np.int32), ([0], [7])), shape=(1, 80))
    some = vstack([csr_matrix((1, 80), dtype=np.int32), cells[:1], only_gene_7], format="csr")
    found = model.embed(some)
    assert not found[[0, 2]].any()
    assert found[1].any()
    assert model.embed(some[:1]).shape == (1, 16)


def test_cells_of_a_few_molecules(cells):
    """Depth 2: cells of no, one or two tokens; nothing crashes, nothing is NaN."""
    rng = np.random.default_rng(2)
    few = csr_matrix(rng.poisson(2 / 80, (160, 80)).astype(np.int32))
    assert (np.diff(few.indptr) == 0).any()
    model = create(max_steps=20).fit(few[:80], few[80:120])
    assert np.isfinite(model.embed(few)).all()
    assert np.isfinite(model.history["loss_validation"]).all()


def test_same_seed_same_bits_and_another_seed_another_model(cells):
    one, again, other = (create(s, max_steps=20).fit(cells[:60], cells[120:140]).embed(cells[200:]) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_training_leaves_the_global_generator_alone(cells):
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    create(max_steps=20, dropout=0.1).fit(cells[:60], cells[120:140])
    assert torch.equal(torch.rand(1), before)


def test_saves_and_loads(fitted, cells, tmp_path):
    path = fitted.save(tmp_path / "model.safetensors")
    loaded = models.load(path, device="cpu")
    np.testing.assert_array_equal(loaded.embed(cells[160:]), fitted.embed(cells[160:]))
    assert (loaded.history, loaded.settings, loaded.name) == (fitted.history, fitted.settings, "geneformer")
    assert loaded.n_parameters == fitted.n_parameters


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_stopped_training_goes_on_to_the_same_weights(cells, tmp_path, monkeypatch, dropout):
    options, path = {"dropout": dropout, "max_steps": 60}, tmp_path / "checkpoint.safetensors"
    whole = create(3, **options).fit(cells[:100], cells[120:160])
    update = MaskedTraining.update
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)

    def stopped(self, batch):
        if self.progress.step == 47:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(MaskedTraining, "update", stopped)
    with pytest.raises(KeyboardInterrupt):
        create(3, **options).fit(cells[:100], cells[120:160], checkpoint=path)
    assert path.exists()
    started = []

    def noted(self, batch):
        started.append(self.progress.step)
        return update(self, batch)

    monkeypatch.setattr(MaskedTraining, "update", noted)
    resumed = create(3, **options).fit(cells[:100], cells[120:160], checkpoint=path)
    assert started[0] == 47
    assert resumed.history == whole.history
    np.testing.assert_array_equal(resumed.embed(cells[160:]), whole.embed(cells[160:]))
    assert not path.exists()


def test_a_checkpoint_of_another_training_is_refused(cells, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    create(3, max_steps=40).fit(cells[:100], cells[120:160], checkpoint=path)  # removed at the end
    monkeypatch.setattr(MaskedTraining, "_is_over", lambda self: self.progress.step == 20)
    monkeypatch.setattr(type(path), "unlink", lambda *a, **k: None)
    create(3, max_steps=40).fit(cells[:100], cells[120:160], checkpoint=path)
    monkeypatch.undo()
    with pytest.raises(InputError, match="other settings, seed or cells"):
        create(4, max_steps=40).fit(cells[:100], cells[120:160], checkpoint=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="is no whole checkpoint: remove it"):
        create(3, max_steps=40).fit(cells[:100], cells[120:160], checkpoint=path)


def test_keeps_the_weights_of_the_lowest_validation_loss(cells):
    """100 cells learnt by heart: the loss on others rises, and the weights from before are what is kept."""
    model = create(max_steps=400, learning_rate=2e-2, patience=4).fit(cells[:20], cells[120:160])
    losses = model.history["loss_validation"]
    assert len(losses) < 20  # stopped early
    assert losses.index(min(losses)) == len(losses) - 5
    train, held = (tokens_of(cells[rows], gene_medians(cells[:20]), 48) for rows in (slice(20), slice(120, 160)))
    exam = MaskedTraining(model._net.eval(), train, held, model.settings, seed=0, device="cpu")
    with torch.no_grad():
        again = exam.validation_loss()
    assert again == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.parametrize("name", ["fixed_steps", "max_steps"])
def test_no_steps_at_all_are_refused(cells, name):
    with pytest.raises(InputError, match=f"option '{name}' must be a whole number from 1 on, or None: found 0"):
        create(**{name: 0}).fit(cells[:100], cells[120:160])


def test_fixed_steps_train_exactly_so_many(cells):
    model = create(fixed_steps=33, patience=1).fit(cells[:100], cells[120:160])
    assert model.history["step"] == [20, 33]


def test_patience_in_epochs_checks_once_an_epoch(cells):
    model = create(patience_unit="epochs", max_steps=12).fit(cells[:100], cells[120:160])
    assert model.history["step"] == [4, 8, 12]  # 100 cells in batches of 32


def test_a_diverging_training_says_so(cells):
    with pytest.raises(FloatingPointError, match="not finite by step 20: lower its learning_rate"):
        create(learning_rate=1e30, max_steps=20).fit(cells[:100], cells[120:160])


def test_untrained_is_the_start_of_the_trained(cells):
    control = models.create("untrained_geneformer", seed=0, device="cpu", **TINY).fit(cells[:120], cells[120:160])
    trained = create(fixed_steps=1, learning_rate=0.0).fit(cells[:120], cells[120:160])
    np.testing.assert_array_equal(control.embed(cells[160:]), trained.embed(cells[160:]))
    assert control.history == {}


def test_medians_from_other_cells(cells):
    own, published = (create(fixed_steps=1).fit(cells[:60], cells[120:160], genes_from=g) for g in (None, cells))
    np.testing.assert_array_equal(own.gene_medians, gene_medians(cells[:60]))
    np.testing.assert_array_equal(published.gene_medians, gene_medians(cells))


def test_masks_are_devlins_shares():
    """15 % of places; of these 80 % mask, 10 % random, 10 % as they were: within 4 standard errors."""
    counts = csr_matrix(np.random.default_rng(0).poisson(1.5, (300, 400)).astype(np.int32))
    tokens = tokens_of(counts, gene_medians(counts), 400)
    cells, n = np.arange(300), len(tokens.ids)
    data = masked_batch(tokens, cells, at_most=400, rng=np.random.default_rng(1))
    ids, _, _ = gather(tokens, cells, at_most=400)
    places, shown = data.places.numpy(), data.batch.ids.numpy()
    np.testing.assert_array_equal(data.targets.numpy(), ids[places])
    assert len(places) / n == pytest.approx(0.15, abs=4 * np.sqrt(0.15 * 0.85 / n))
    elsewhere = np.setdiff1d(np.arange(n), places)
    np.testing.assert_array_equal(shown[elsewhere], ids[elsewhere])
    tolerance = 4 * np.sqrt(0.16 / len(places))
    assert (shown[places] == 401).mean() == pytest.approx(0.8, abs=tolerance)
    assert (shown[places] == ids[places]).mean() == pytest.approx(0.1 + 0.1 / 400, abs=tolerance)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_tokens_that_are_read_from_a_file_do_not_stay_in_memory(tmp_path):
    """60 MB of tokens, each read once: the process holds less than a tenth of them."""

    def megabytes():
        return int(Path("/proc/self/status").read_text().split("RssFile:")[1].split()[0]) / 1024

    n, length = 300_000, 100
    written = np.tile(np.arange(length, dtype=np.uint16), n)
    written.tofile(tmp_path / "tokens")
    mapped = np.memmap(tmp_path / "tokens", np.uint16, mode="r")
    tokens = Tokens(mapped, np.arange(n + 1) * length, np.arange(n), 400, 512)
    before = megabytes()
    for start in range(0, n, 1000):
        ids, _, lengths = gather(tokens, np.arange(start, start + 1000), at_most=512)
        assert lengths.sum() == 1000 * length
    assert ids.tolist() == written[: 1000 * length].tolist()
    assert megabytes() - before < 6


def test_a_random_choice_of_tokens_keeps_their_ranks():
    counts = csr_matrix(np.random.default_rng(0).poisson(2, (50, 60)).astype(np.int32))
    tokens = tokens_of(counts, gene_medians(counts), 60)
    ids, ranks, lengths = gather(tokens, np.arange(50), at_most=10, rng=np.random.default_rng(1))
    order = np.argsort(tokens.lengths, kind="stable")
    seen = np.zeros(60)
    for i, cell in enumerate(np.split(np.arange(len(ids)), np.cumsum(lengths)[:-1])):
        whole = tokens.ids[tokens.offsets[order[i]] : tokens.offsets[order[i] + 1]]
        assert (np.diff(ranks[cell]) > 0).all()
        np.testing.assert_array_equal(ids[cell], whole[ranks[cell]])
        seen[ranks[cell]] += 1
    assert (seen[:45] > 0).all()
    first, _, _ = gather(tokens, np.arange(50), at_most=10)
    assert first[:10].tolist() == tokens.ids[tokens.offsets[order[0]] :][:10].tolist()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"layer": "first"}, "unknown layer 'first'"),
        ({"patience_unit": "hours"}, "unknown patience_unit 'hours'"),
        ({"depth": 3}, "unknown option of geneformer 'depth'"),
        ({"layers": 2.5}, "must be int"),
    ],
)
def test_wrong_options(options, word):
    with pytest.raises(InputError, match=word):
        models.create("geneformer", **options)


def test_too_few_cells_with_tokens(cells):
    with pytest.raises(InputError, match="0 of 50 training cells have a token"):
        create().fit(csr_matrix((50, 80), dtype=np.int32), cells)
