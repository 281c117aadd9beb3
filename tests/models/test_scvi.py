import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from scvi.distributions import ZeroInflatedNegativeBinomial

from noise_scaling import models
from noise_scaling.errors import InputError
from noise_scaling.models import scvi, scvi_data, scvi_loss, scvi_training

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


@pytest.fixture(params=["kernel", "torch"])
def compute(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(scvi_loss, "_on_cpu", scvi_loss.with_torch)


def test_likelihood_and_gradient_are_those_of_scvi_tools(compute):
    rng = np.random.default_rng(0)
    x = rng.poisson(rng.exponential(3, (30, 200)) * (rng.random((30, 200)) < 0.2)).astype(np.int32)
    x[0, :4] = [16, 17, 400, 5000]  # both branches of the gamma function, and counts above its first table
    x = csr_matrix(x)
    batch = scvi_data.Counts(x, "cpu").batch(np.arange(30))
    cells, dense = batch[scvi_loss.CELLS], torch.from_numpy(x.toarray())
    inputs = [torch.from_numpy(rng.normal(0, s, shape).astype(np.float32)) for s, shape in
              ((2, (30, 200)), (3, (30, 200)), (2, 200))]  # fmt: skip
    exact, single = (library_likelihood(inputs, cells.library, dense, t) for t in (torch.float64, torch.float32))
    leaves = [t.clone().requires_grad_() for t in inputs]
    total, values = scvi_loss.Likelihood.apply(leaves[0].clone(), leaves[1].clone(), leaves[2], cells)
    total.backward()
    for found, right, theirs in zip([values, *(leaf.grad for leaf in leaves)], exact, single, strict=True):
        rounding = float((theirs - right).abs().max()) + 1e-7 * float(right.abs().max())
        assert float((found - right).abs().max()) < 3 * rounding
        assert rounding < 1e-4 * float(right.abs().max())
    assert float(total.detach()) == pytest.approx(float(exact[0].sum()), rel=1e-6)


def test_likelihood_by_hand():
    """One gene, mean 2, dispersion 1, no extra zeros: the geometric distribution, P(x) = (1/3) (2/3)^x."""
    cells = scvi_data.Counts(csr_matrix(np.array([[2], [2]])), "cpu").batch(np.arange(2))[scvi_loss.CELLS]
    far = torch.full((2, 1), -30.0)
    _, values = scvi_loss.Likelihood.apply(torch.zeros(2, 1), far, torch.zeros(1), cells)
    np.testing.assert_allclose(values, np.log(4 / 27), rtol=1e-6)


def test_loss_of_a_training_is_the_library_s(counts):
    """The same weights and random numbers: the library's module and ours, step for step."""
    curves = [
        create(fast_loss=fast, fixed_steps=40).fit(counts[:100], counts[100:150]).history for fast in (True, False)
    ]
    for name in ("loss_train", "elbo_validation"):
        np.testing.assert_allclose(curves[0][name], curves[1][name], rtol=2e-4)
    assert curves[0]["step"] == [20, 40]


def test_batches_are_the_counts_and_an_epoch_visits_each_cell_once(counts):
    source = scvi_data.InMemory(counts[:100], 32, seed=1, device="cpu")
    assert source.steps_per_epoch == 4
    dense = counts[:100].toarray()
    seen = []
    for batch in source.batches(4, 8):
        found = batch["X"].numpy().copy()
        cells = batch[scvi_loss.CELLS]
        rows = csr_matrix((cells.counts, cells.genes, cells.indptr), shape=found.shape).toarray()
        np.testing.assert_array_equal(found, rows)
        np.testing.assert_array_equal(cells.library, found.sum(1))
        seen.append(found)
    order = np.lexsort(np.concatenate(seen).T)
    np.testing.assert_array_equal(np.concatenate(seen)[order], dense[np.lexsort(dense.T)])


def test_batches_made_on_a_device_are_those_copied(counts):
    """The path of a GPU, which runs on any device."""
    held = scvi_data.Counts(counts, "cpu")
    cells = np.random.default_rng(0).permutation(200)[:50]
    (dense, copied), (also_dense, indexed) = held._copied(cells), held._indexed(cells)
    for one, other in zip((dense, *copied), (also_dense, *indexed), strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_batches_start_at_any_step(counts):
    source = scvi_data.InMemory(counts[:100], 32, seed=1, device="cpu")
    through = [batch["X"].numpy().copy() for batch in source.batches(0, 10)]
    late = [batch["X"].numpy().copy() for batch in source.batches(7, 10)]
    np.testing.assert_array_equal(np.concatenate(late), np.concatenate(through[7:]))


@pytest.mark.parametrize("n_cells", [33, 65, 97])
def test_no_last_batch_of_one_cell(n_cells, counts):
    assert n_cells % scvi_data.whole_batches(n_cells, 32) != 1
    create().fit(counts[:n_cells], counts[100:120])


@pytest.mark.parametrize(
    ("unit", "n_cells", "interval"), [("steps", 100, 20), ("steps", 3000, 24), ("epochs", 100, 4), ("epochs", 3000, 24)]
)
def test_patience_counts_steps_or_epochs(unit, n_cells, interval):
    settings = models.settings("scvi", patience_unit=unit)
    epoch = int(np.ceil(n_cells / scvi._batch_size(n_cells)))
    assert scvi._schedule(settings, epoch, n_cells) == (4000 // epoch * epoch, interval)


def test_published_epochs():
    """At most max(1, 1e7 / N) epochs: 100 at 1e5 cells, one at 1e7."""
    settings = models.settings("scvi", preset="published")
    assert scvi._schedule(settings, 196, 100_000) == (100 * 196, 196)
    assert scvi._schedule(settings, 19_532, 10_000_000) == (19_532, 19_532)


def test_fixed_steps_keep_the_last_weights(counts):
    model = create(fixed_steps=50).fit(counts[:100], counts[100:150])
    assert model.history["step"] == [20, 40, 50]


def test_resumes_to_the_same_loss(counts, tmp_path, monkeypatch):
    monkeypatch.setattr(scvi_training.Checkpoint.__init__, "__defaults__", (0.0,))
    settings = {"patience": 100, "reduce_lr": True}
    through = create(**settings).fit(counts[:100], counts[100:150])
    write, written = scvi_training.Checkpoint.on_train_epoch_end, []

    def write_and_stop(self, *arguments):
        write(self, *arguments)
        written.append(self.steps)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(scvi_training.Checkpoint, "on_train_epoch_end", write_and_stop)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        create(**settings).fit(counts[:100], counts[100:150], checkpoint=tmp_path / "state.ckpt")
    monkeypatch.setattr(scvi_training.Checkpoint, "on_train_epoch_end", write)
    with pytest.raises(InputError, match="other settings or cells"):
        create(**settings, seed=5).fit(counts[:100], counts[100:150], checkpoint=tmp_path / "state.ckpt")
    resumed = create(**settings).fit(counts[:100], counts[100:150], checkpoint=tmp_path / "state.ckpt")
    assert written == [20, 40, 60]
    assert resumed.history == through.history
    np.testing.assert_array_equal(resumed.embed(counts), through.embed(counts))
    assert list(tmp_path.iterdir()) == []


def test_the_first_process_on_a_machine_trains_as_all_later_ones(tmp_path):
    """The one that compiles the kernel, and one that reads it from the cache."""
    code = """
import numpy as np
from noise_scaling.models.scvi_kernel import zinb
rng = np.random.default_rng(0)
counts = rng.poisson(0.5, (20, 700)).astype(np.int32)
cells, genes = np.nonzero(counts)
indptr = np.concatenate([[0], np.cumsum((counts > 0).sum(1))]).astype(np.int32)
scale, logit = (rng.normal(size=counts.shape).astype(np.float32) for _ in range(2))
theta, values, d_theta = np.exp(scale[0]), np.zeros(20), np.zeros(700, np.float32)
factorials = np.log([1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880.0])
args = counts.sum(1, dtype=np.float32), indptr, genes.astype(np.int32), counts[cells, genes], factorials
zinb(scale, logit, theta, *args, values, d_theta)
print(*(array.tobytes().hex() for array in (scale, logit, values, d_theta)))
print("compiled" if zinb.stats.cache_misses else "read")
"""
    ran = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True,
            text=True, check=True,
        ).stdout.splitlines()
        for _ in range(2)
    ]  # fmt: skip
    assert [lines[1] for lines in ran] == ["compiled", "read"]
    assert ran[0][0] == ran[1][0]


@pytest.mark.parametrize("total", [40, 50])
def test_long_intervals_in_parts_train_the_same(counts, monkeypatch, total):
    settings = {"fixed_steps": total, "reduce_lr": True}
    whole = create(**settings).fit(counts[:100], counts[100:150])
    monkeypatch.setattr(scvi, "_CALL", 7)
    parts = create(**settings).fit(counts[:100], counts[100:150])
    assert parts.history["step"] == whole.history["step"]
    assert parts.history["elbo_validation"] == whole.history["elbo_validation"]
    np.testing.assert_array_equal(parts.embed(counts), whole.embed(counts))


def test_saved_and_loaded_it_embeds_the_same(counts, tmp_path):
    model = create().fit(counts[:100], counts[100:150])
    back = models.load(model.save(tmp_path / "model.safetensors"), device="cpu")
    np.testing.assert_array_equal(back.embed(counts), model.embed(counts))
    assert back.history == model.history
    assert back.n_parameters == model.n_parameters


def test_a_training_that_diverges_says_so(counts):
    with pytest.raises(FloatingPointError, match="scVI's loss is not finite within 20 steps"):
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


@pytest.mark.parametrize(("option", "value"), [("precision", "8"), ("patience_unit", "cells"), ("fast_loss", 1)])
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
