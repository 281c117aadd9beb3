"""BertForMaskedLM of transformers, trained as by its Trainer: padded batches, logits everywhere, AdamW, clipping."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertForMaskedLM

from noise_scaling.models.geneformer_data import Masked
from noise_scaling.models.geneformer_net import Net

sys.path.append(str(Path(__file__).parents[2] / "tests" / "models"))
from bert_names import bert_settings, bert_weights


class Reference:
    """BertForMaskedLM with our starting weights; `step` does the same as a training step of HF's Trainer."""

    def __init__(self, net: Net, *, learning_rate: float, weight_decay: float, half: bool, device: str = "cpu") -> None:
        self.model = BertForMaskedLM(BertConfig(**bert_settings(net.shape)))
        self.model.load_state_dict(bert_weights(net))
        self.model.to(device).train()
        self.pad, self.half, self.device = net.shape.vocabulary - 2, half, device
        named = list(self.model.named_parameters())  # lists tied weights once
        plain = [p for name, p in named if "bias" in name or "LayerNorm" in name]
        decayed = [p for name, p in named if not ("bias" in name or "LayerNorm" in name)]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)

    def padded(self, data: Masked) -> dict[str, torch.Tensor]:
        """Return the same cells as HF's collator does: ids, attention mask and labels [cells, longest]."""
        labels = torch.full_like(data.batch.ids, -100)
        labels[data.places] = data.targets
        lengths = data.batch.lengths.tolist()
        columns = {"input_ids": (data.batch.ids, self.pad), "labels": (labels, -100)}
        columns["attention_mask"] = (torch.ones_like(labels), 0)
        return {
            name: pad_sequence(values.split(lengths), batch_first=True, padding_value=fill)
            for name, (values, fill) in columns.items()
        }

    def step(self, batch: dict[str, torch.Tensor], learning_rate: float | None = None) -> torch.Tensor:
        if learning_rate is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            loss = self.model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()
