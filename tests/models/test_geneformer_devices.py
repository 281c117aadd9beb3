"""One training in several processes: the weights of one, whole, resumed and failing as one."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from noise_scaling import models
from noise_scaling.counts.tokens import gene_medians
from noise_scaling.errors import InputError
from noise_scaling.models import team, training
from noise_scaling.models.geneformer_data import masked_batch, tokens_of
from noise_scaling.models.geneformer_net import Net, Shape
from noise_scaling.models.geneformer_training import MaskedTraining

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {
    "width": 16,
    "feed_forward": 16,
    "context": 48,
    "max_steps": 30,
    "check_every": 10,
    "warmup": 5,
    "batch_tokens": None,
}


@pytest.fixture(scope="module")
def cells(two_kinds) -> csr_matrix:
    return two_kinds


@pytest.fixture(scope="module")
def alone(cells):
    return create().fit(cells[:120], cells[120:160])


def create(**options: object) -> models.Model:
    return models.create("geneformer", seed=0, device="cpu", **(TINY | options))


def same(model: models.Model, other: models.Model, cells: csr_matrix) -> None:
    """Curves and embeddings equal to the rounding of sums in another order, carried on through 30 steps."""
    assert model.history["step"] == other.history["step"]
    for name in ("loss_train", "loss_validation"):
        np.testing.assert_allclose(model.history[name], other.history[name], rtol=1e-5)
    np.testing.assert_allclose(model.embed(cells), other.embed(cells), atol=2e-4)


def test_two_processes_train_what_one_trains(cells, alone):
    together = create().fit(cells[:120], cells[120:160], devices=2)
    same(together, alone, cells[160:])
    assert not torch.distributed.is_initialized()


def test_a_network_larger_than_a_pipe_comes_back(cells):
    """The small preset's, of 0.3 MB; Linux's pipes hold 64 kB."""
    wide = models.create("geneformer", seed=0, device="cpu", fixed_steps=2)
    assert sum(p.nbytes for p in wide.fit(cells[:120], cells[120:160], devices=2)._net.parameters()) > 1 << 18


def test_each_sees_its_share_alone(cells, alone):
    """Without the other's half the weights are others: what the equality above rests on."""
    half = create(batch_size=16).fit(cells[:120], cells[120:160])
    assert np.abs(half.embed(cells[160:]) - alone.embed(cells[160:])).max() > 1e-2


def test_a_checkpoint_of_one_goes_on_in_two(cells, alone, tmp_path, monkeypatch):
    path, update = tmp_path / "checkpoint", MaskedTraining.update
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)

    def stopped(self, batch):
        if self.progress.step == 17:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(MaskedTraining, "update", stopped)
    with pytest.raises(KeyboardInterrupt):
        create().fit(cells[:120], cells[120:160], checkpoint=path)

    def later(self, batch):
        assert self.progress.step >= 17
        return update(self, batch)

    monkeypatch.setattr(MaskedTraining, "update", later)
    same(create().fit(cells[:120], cells[120:160], checkpoint=path, devices=2), alone, cells[160:])
    assert not path.exists()


def test_divergence_in_a_process_is_an_error_here(cells):
    with pytest.raises(FloatingPointError, match="lower its learning_rate"):
        create(learning_rate=1e30).fit(cells[:120], cells[120:160], devices=2)


@pytest.mark.parametrize("n", [2, 3])
def test_shares_make_up_the_batch(cells, n):
    """The mean of the shares' weighted losses is the batch's loss, and so are its gradients; even of an empty share."""
    tokens = tokens_of(cells[:40], gene_medians(cells), 48)
    net = Net.start(Shape(82, context=48, width=16, feed_forward=16, heads=2, layers=2, dropout=0.0), seed=0)

    def loss(share: tuple[int, int], chosen: np.ndarray) -> tuple[torch.Tensor, list[torch.Tensor]]:
        rng = np.random.default_rng(5)
        data = masked_batch(tokens, chosen, at_most=32, rng=rng, share=share)
        value = net(data.batch, data.places, data.targets, data.queries) * data.weight
        return value.detach(), torch.autograd.grad(value, list(net.parameters()))

    for chosen in (np.arange(13), np.arange(n)):
        whole, gradients = loss((0, 1), chosen)
        parts = [loss((i, n), chosen) for i in range(n)]
        torch.testing.assert_close(torch.stack([value for value, _ in parts]).mean(), whole)
        for i, gradient in enumerate(gradients):
            mean = torch.stack([part[i] for _, part in parts]).mean(0)
            torch.testing.assert_close(mean, gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("devices", "word"), [(0, "1 or more"), (1.5, "1 or more")])
def test_wrong_numbers_of_devices(cells, devices, word):
    with pytest.raises(InputError, match=word):
        create().fit(cells[:120], cells[120:160], devices=devices)


def test_more_gpus_than_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="devices is 3 and 2 GPUs are visible"):
        team.check_devices(3, "cuda")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(InputError, match="used none before"):
        team.train_together(lambda started, device: None, 2, "cuda")
