# SPDX-License-Identifier: Apache-2.0
"""Sizes of a model."""
from dataclasses import asdict, dataclass


@dataclass
class Shape:
    vocab: int = 6144
    d: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 8
    ffn: int = 448
    segment: int = 256
    mem: int = 16
    d_mem: int = 64
    first: int = 2
    theta: float = 10000.0
    eps: float = 1e-5
    tied: bool = True

    @property
    def head_dim(self):
        return self.d // self.heads

    @property
    def d_key(self):
        return 6 * self.d_mem

    def as_dict(self):
        return asdict(self)
