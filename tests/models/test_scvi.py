from itertools import islice

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, vstack
from scvi import REGISTRY_KEYS
from scvi.distributions import ZeroInflatedNegativeBinomial

from noise_scaling import models
from noise_scaling.errors import InputError
from noise_scaling.models import scvi, scvi_data, training
from noise_scaling.models.training import limits

pytestmark = pytest.mark.any_machine


@pytest.fixture(scope="module")
def counts() -> csr_matrix:
    """Two hundred cells of two kinds that differ twofold in half of 60 genes."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 200)
    return csr_matrix(rng.poisson(np.where((np.arange(60) < 30) == kind[:, None], 8.0, 4.0)).astype(np.int32))


def create(**options) -> models.Model:
    return models.create("scvi", **{"seed": 0, "device": "cpu", "max_steps": 100} | options)


def library_likelihood(inputs, library, x, dtype):
    """scvi-tools' own: log-likelihood [cells], and the gradient of its sum by each input."""
    scale, logit, log_theta = (t.detach().clone().to(dtype).requires_grad_() for t in inputs)
    mean = library.to(dtype)[:, None] * scale.softmax(1)
    distribution = ZeroInflatedNegativeBinomial(mu=mean, theta=log_theta.exp(), zi_logits=logit)
    values = distribution.log_prob(x.to(dtype)).sum(1)
    values.sum().backward()
    return [values.detach(), scale.grad, logit.grad, log_theta.grad]


def test_likelihood_and_gradient_are_those_of_scvi_tools():
    rng = np.random.default_rng(0)
    x = rng.poisson(rng.exponential(3, (30, 200)) * (rng.random((30, 200)) < 0.2)).astype(np.int32)
    x[0, :4] = [16, 17, 400, 5000]
    batch = scvi_data.Counts(csr_matrix(x), "cpu").batch(np.arange(30))
    inputs = [torch.from_numpy(rng.normal(0, s, shape).astype(np.float32)) for s, shape in
              ((2, (30, 200)), (3, (30, 200)), (2, 200))]  # fmt: skip
    exact, single = (library_likelihood(inputs, batch.library, batch.dense, t) for t in (torch.float64, torch.float32))
    leaves = [t.clone().requires_grad_() for t in inputs]
    values = scvi.log_likelihood(*leaves, batch)
    values.sum().backward()
    for found, right, theirs in zip([values.detach(), *(leaf.grad for leaf in leaves)], exact, single, strict=True):
        rounding = float((theirs - right).abs().max()) + 1e-7 * float(right.abs().max())
        assert float((found - right).abs().max()) < 3 * rounding
        assert rounding < 1e-4 * float(right.abs().max())


def test_likelihood_by_hand():
    """One gene, mean 2, dispersion 1, no extra zeros: the geometric distribution, P(x) = (1/3) (2/3)^x."""
    batch = scvi_data.Counts(csr_matrix(np.array([[2], [2]])), "cpu").batch(np.arange(2))
    values = scvi.log_likelihood(torch.zeros(2, 1), torch.full((2, 1), -30.0), torch.zeros(1), batch)
    np.testing.assert_allclose(values, np.log(4 / 27), rtol=1e-6)


KINDS = ("scvi", "scvi_nb", "scvi_poisson", "scvi_linear")


@pytest.mark.parametrize(("name", "kl_weight"), [("scvi", 0.0), *((name, 1.0) for name in KINDS)])
def test_loss_and_gradient_are_those_of_the_library_s_module(counts, name, kl_weight):
    """The same weights and random numbers, dropout included: `VAE.loss` and ours, and the gradient of every weight."""
    model = models.create(name, seed=0, device="cpu")
    net = model.module(60).train()
    batch = scvi_data.Counts(counts, "cpu").batch(np.arange(50))
    none = torch.zeros(50, 1, dtype=torch.long)
    tensors = {REGISTRY_KEYS.X_KEY: batch.dense, REGISTRY_KEYS.BATCH_KEY: none, REGISTRY_KEYS.LABELS_KEY: none}
    torch.manual_seed(3)
    theirs = net(tensors, loss_kwargs={"kl_weight": kl_weight})[2].loss
    torch.manual_seed(3)
    fit, kl = scvi.elbo_terms(net, batch)
    ours = (kl_weight * kl - fit).mean()
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)
    gradients = [torch.autograd.grad(loss, list(net.parameters()), allow_unused=True) for loss in (theirs, ours)]
    for right, found in zip(*gradients, strict=True):
        assert (right is None) == (found is None)
        if right is not None:
            torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-5)
    used = [gradient for gradient in gradients[1] if gradient is not None]
    idle = ("decoder.px_r_decoder", "l_encoder")  # the library's own, with a dispersion a gene and an observed library
    kept = [p.numel() for weight, p in model.network(60).named_parameters() if not weight.startswith(idle)]
    assert sum(kept) == sum(gradient.numel() for gradient in used)


def test_the_first_epoch_is_without_the_kl_term(counts):
    source = scvi_data.InMemory(counts[:100], 32, seed=1, device="cpu")
    held = scvi_data.Counts(counts[100:], "cpu")
    training = scvi._Training(create().network(60), source, held, models.settings("scvi"), seed=0)
    batch, losses = next(source.batches(0)), []
    for step in (3, 4):  # an epoch is 4 steps
        training.progress.step = step
        torch.manual_seed(0)
        losses.append(float(training.loss(batch).detach()))
    torch.manual_seed(0)
    _, kl = scvi.elbo_terms(training.net, batch)
    assert losses[1] - losses[0] == pytest.approx(float(kl.mean().detach()), rel=1e-3)


def test_batches_are_the_counts_and_an_epoch_visits_each_cell_once(counts):
    source = scvi_data.InMemory(counts[:100], 32, seed=1, device="cpu")
    assert source.steps_per_epoch == 4
    dense = counts[:100].toarray()
    seen = []
    for batch in islice(source.batches(4), 4):
        found = batch.dense.numpy()
        rows = csr_matrix((batch.counts, (batch.rows, batch.genes)), shape=found.shape).toarray()
        np.testing.assert_array_equal(found, rows)
        np.testing.assert_array_equal(batch.library, found.sum(1))
        seen.append(found)
    order = np.lexsort(np.concatenate(seen).T)
    np.testing.assert_array_equal(np.concatenate(seen)[order], dense[np.lexsort(dense.T)])


def test_batches_start_at_any_step(counts):
    source = scvi_data.InMemory(counts[:100], 32, seed=1, device="cpu")
    through, late = ([batch.dense.numpy() for batch in islice(source.batches(n), 10 - n)] for n in (0, 7))
    np.testing.assert_array_equal(np.concatenate(late), np.concatenate(through[7:]))


@pytest.mark.parametrize("n_cells", [33, 65, 97])
def test_no_last_batch_of_one_cell(n_cells, counts):
    assert n_cells % scvi_data.whole_batches(n_cells, 32) != 1
    create().fit(counts[:n_cells], counts[100:120])


@pytest.mark.parametrize(
    ("unit", "n_cells", "interval"), [("steps", 100, 20), ("steps", 3000, 24), ("epochs", 100, 4), ("epochs", 3000, 24)]
)
def test_patience_counts_steps_or_epochs(unit, n_cells, interval, counts):
    settings = models.settings("scvi", patience_unit=unit)
    many = vstack([counts] * (n_cells // 200 + 1), format="csr")[:n_cells]
    source = scvi_data.InMemory(many, scvi._batch_size(n_cells), seed=0, device="cpu")
    training = scvi._Training(create().network(60), source, scvi_data.Counts(counts, "cpu"), settings, seed=0)
    assert (training.limits.steps, training.limits.every) == (4000, interval)


def test_published_epochs():
    """At most max(1, 1e7 / N) epochs: 100 at 1e5 cells, one at 1e7."""
    settings = models.settings("scvi", preset="published")
    for n_cells, epoch, steps in ((100_000, 196, 100 * 196), (10_000_000, 19_532, 19_532)):
        found = limits(settings, n_cells=n_cells, epoch=epoch, check_every=20)
        assert (found.steps, found.every, found.patience, found.min_delta) == (steps, epoch, 5, 0.01)


def test_fixed_steps_keep_the_last_weights(counts):
    model = create(fixed_steps=50).fit(counts[:100], counts[100:150])
    assert model.history["step"] == [20, 40, 50]


def test_resumes_to_the_same_loss(counts, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    settings, path = {"patience": 100, "reduce_lr": True}, tmp_path / "state.ckpt"
    through = create(**settings).fit(counts[:100], counts[100:150])
    update = scvi._Training.update

    def stopped(self, batch):
        if self.progress.step == 67:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(scvi._Training, "update", stopped)
    with pytest.raises(KeyboardInterrupt):
        create(**settings).fit(counts[:100], counts[100:150], checkpoint=path)
    with pytest.raises(InputError, match="other settings, seed or cells"):
        create(**settings, seed=5).fit(counts[:100], counts[100:150], checkpoint=path)
    monkeypatch.setattr(scvi._Training, "update", update)
    resumed = create(**settings).fit(counts[:100], counts[100:150], checkpoint=path)
    assert resumed.history == through.history
    np.testing.assert_array_equal(resumed.embed(counts), through.embed(counts))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", KINDS)
def test_saved_and_loaded_it_embeds_the_same(counts, name, tmp_path):
    model = models.create(name, seed=0, device="cpu", max_steps=40).fit(counts[:100], counts[100:150])
    back = models.load(model.save(tmp_path / "model.safetensors"), device="cpu")
    np.testing.assert_array_equal(back.embed(counts), model.embed(counts))
    assert back.history == model.history
    assert back.n_parameters == model.n_parameters


def test_a_training_that_diverges_says_so(counts):
    with pytest.raises(FloatingPointError, match="scVI's loss is not finite by step 20: lower its learning_rate"):
        create(learning_rate=1e30).fit(counts[:100], counts[100:150])


def test_bfloat16_keeps_the_loss(counts):
    curves = [create(precision=p).fit(counts[:100], counts[100:150]).history["elbo_validation"] for p in ("32", "bf16")]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.01)
    assert curves[0] != curves[1]


def test_what_automatic_settings_stand_for(monkeypatch):
    assert scvi._learning_rate(32) == 2e-3
    assert scvi._learning_rate(128) == 4e-3
    for native, n_genes, expected in ((True, 4000, "bf16"), (True, 2000, "32"), (False, 4000, "32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        assert scvi._precision(models.settings("scvi"), n_genes, "cpu") == expected
    assert scvi._precision(models.settings("scvi", precision="32"), 4000, "cpu") == "32"


@pytest.mark.parametrize(("option", "value"), [("precision", "8"), ("patience_unit", "cells"), ("reduce_lr", 1)])
def test_bad_options(option, value):
    with pytest.raises(InputError, match=r"unknown|must be bool"):
        create(**{option: value})


def test_leaves_the_global_generators_alone(counts):
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    before = np.random.random(), float(torch.rand(1))  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    create().fit(counts[:40], counts[100:120])
    assert (np.random.random(), float(torch.rand(1))) == before  # noqa: NPY002


def test_no_more_than_a_batch_is_ever_moved_to_the_device(counts, monkeypatch):
    """On "meta", which stands for a card and holds no numbers: the counts stay, 13 cells of each array go."""
    moved = []
    monkeypatch.setattr(scvi_data.Counts, "_there", lambda self, values: moved.append(values) or values.to("meta"))
    held = scvi_data.Counts(counts, "meta")
    assert {held.genes.device.type, held.counts.device.type, held.library.device.type} == {"cpu"}
    assert moved == []
    cells = np.arange(7, 20)
    batch = held.batch(cells)
    assert {tensor.device.type for tensor in batch[:-1]} == {"meta"}
    assert [len(values) for values in moved] == [counts[cells].nnz, counts[cells].nnz, 13, 13]
    assert batch.dense.shape == (13, 60)


def test_a_batch_holds_the_cells_asked_for_in_their_order(counts):
    cells = np.array([150, 3, 3, 77])
    batch = scvi_data.Counts(counts, "cpu").batch(cells)
    np.testing.assert_array_equal(batch.dense, counts[cells].toarray())
    np.testing.assert_array_equal(batch.library, counts[cells].sum(1).A1)
    np.testing.assert_array_equal(batch.genes, counts[cells].indices)
