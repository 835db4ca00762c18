#!/usr/bin/env python3
"""Writes tests/bert_case/: a small random BERT and what the reference implementation, the Python packages `transformers`
and `torch`, makes of some ids. Made with transformers 5.24.0, torch 2.15.0, safetensors 0.8.0. Run it with a Python
that has them."""
import pathlib

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel


def main():
    folder = pathlib.Path(__file__).with_name("bert_case")
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=13, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
                        max_position_embeddings=7, type_vocab_size=2)
    model = BertModel(config).eval()
    with torch.no_grad():  # its own initial values are too small to show much
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.5)
        ids = torch.tensor([[2, 5, 7, 11, 3], [2, 12, 3, 0, 0], [2, 3, 0, 0, 0]])
        segments = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
        mask = (ids != 0).long()
        hidden = model(ids, attention_mask=mask, token_type_ids=segments).last_hidden_state
        known = mask[..., None].float()
        means = (hidden * known).sum(1) / known.sum(1)
    model.config.to_json_file(folder / "config.json")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors",
              {"format": "pt"})
    save_file({"ids": ids, "segments": segments, "mask": mask.bool(), "hidden": hidden.contiguous(),
               "sentences": torch.nn.functional.normalize(means, dim=1)}, folder / "expected.safetensors")


main()
