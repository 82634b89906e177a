# SPDX-License-Identifier: Apache-2.0
"""ARMT over LLaMA in PyTorch: normalised keys, denominators, correction.

The arithmetic is that of docs/models.md; rows are batched over documents, and
every document has its own state and its own `fresh` flag.  With `amp` the
matrix products run in bf16; states, norms, feature maps and sums stay fp32.
"""
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Shape:
    vocab: int = 4096
    d: int = 256
    layers: int = 4
    heads: int = 8
    kv_heads: int = 8
    ffn: int = 704
    segment: int = 256
    mem: int = 8
    d_mem: int = 64
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


def feature_map(x):
    """phi of order 3, then division by the Euclidean norm; fp32."""
    x = x.float()
    u = torch.cat([F.relu(x), F.relu(-x)], -1)
    p = torch.cat([u * torch.roll(u, j, -1) for j in (1, 2, 3)], -1)
    return p * torch.rsqrt((p * p).sum(-1, keepdim=True) + 1e-24)


def rms(x, weight, eps):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def linear(x, weight, amp):
    if amp:
        return F.linear(x.bfloat16(), weight.bfloat16())
    return F.linear(x, weight)


def read(x, A, z, wq, amp):
    q = feature_map(linear(x, wq, amp))
    den = (q * z.unsqueeze(1)).sum(-1, keepdim=True) + 1e-5
    num = (torch.bmm(q.bfloat16(), A.bfloat16()) if amp else torch.bmm(q, A))
    return x + num.float() / den


def block(x, w, cos, sin, heads, kv_heads, eps, amp):
    """One LLaMA layer; x [B, rows, d]."""
    B, R, d = x.shape
    hd = w["q"].shape[0] // heads
    h = rms(x, w["n1"], eps)

    def split(name, n):
        return linear(h, w[name], amp).view(B, R, n, hd).transpose(1, 2)

    q, k, v = split("q", heads), split("k", kv_heads), split("v", kv_heads)
    q = rotate(q.float(), cos, sin).to(v.dtype)
    k = rotate(k.float(), cos, sin).to(v.dtype)
    if kv_heads != heads:
        k = k.repeat_interleave(heads // kv_heads, 1)
        v = v.repeat_interleave(heads // kv_heads, 1)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    y = y.transpose(1, 2).reshape(B, R, heads * hd)
    x = x + linear(y, w["o"], amp).float()
    h = rms(x, w["n2"], eps)
    g = F.silu(linear(h, w["gate"], amp).float())
    u = linear(h, w["up"], amp).float()
    return x + linear(g * u, w["down"], amp).float()


def write(m, A, z, fresh, w):
    """m [B, M, d] memory rows; fresh [B, 1, 1]: 1 where nothing was written.

    Returns the new state, the mean of the write gates, and by how much their
    arguments have left the range where a gate can still learn."""
    k = feature_map(F.linear(m, w["mk"]))
    v = F.linear(m, w["mv"])
    open_ = F.linear(m, w["mb"], w["bb"])
    b = torch.sigmoid(open_)
    stuck = F.relu(open_.abs() - 6).square().mean()
    den = (k * z.unsqueeze(1)).sum(-1, keepdim=True) + 1e-5
    old = torch.bmm(k, A) / den
    norm = (k * k).sum(-1, keepdim=True).clamp_min(1e-12)
    g = (1 - den / norm).clamp(0, 1)
    g = torch.where(fresh > 0, torch.ones_like(g), g)
    A = A + torch.bmm((k * b).transpose(1, 2), v - old)
    return A, z + (g * k).sum(1), b.mean(), stuck


def read_layer(x, A, z, w, cos, sin, heads, kv_heads, eps, amp):
    x = read(x, A, z, w["mq"], amp)
    return block(x, w, cos, sin, heads, kv_heads, eps, amp)


def write_layer(x, A, z, fresh, w, cos, sin, heads, kv_heads, eps, mem, amp):
    x = read_layer(x, A, z, w, cos, sin, heads, kv_heads, eps, amp)
    A, z, gate, stuck = write(x[:, -mem:], A, z, fresh, w)
    return x, A, z, gate, stuck


class Layer(nn.Module):
    def __init__(self, s):
        super().__init__()
        d, hd = s.d, s.head_dim

        def p(*shape):
            return nn.Parameter(torch.empty(*shape))

        self.n1, self.n2 = p(d), p(d)
        self.q, self.o = p(s.heads * hd, d), p(d, s.heads * hd)
        self.k, self.v = p(s.kv_heads * hd, d), p(s.kv_heads * hd, d)
        self.gate, self.up, self.down = p(s.ffn, d), p(s.ffn, d), p(d, s.ffn)
        self.mq, self.mk, self.mv = p(s.d_mem, d), p(s.d_mem, d), p(d, d)
        self.mb, self.bb = p(1, d), p(1)

    def weights(self):
        return dict(self.named_parameters())


class Model(nn.Module):
    """States are (A, z, fresh): lists of [B, d_key, d] and [B, d_key], one a
    layer, and [B, 1, 1]."""

    def __init__(self, s, amp=False):
        super().__init__()
        self.s, self.amp = s, amp
        self.emb = nn.Parameter(torch.empty(s.vocab, s.d))
        self.memory = nn.Parameter(torch.empty(s.mem, s.d))
        self.layers = nn.ModuleList([Layer(s) for _ in range(s.layers)])
        self.norm = nn.Parameter(torch.ones(s.d))
        self.head = (None if s.tied
                     else nn.Parameter(torch.empty(s.vocab, s.d)))
        self.tables, self.read_layer, self.write_layer = {}, read_layer, \
            write_layer

    def compile(self):
        self.read_layer = torch.compile(read_layer, dynamic=False)
        self.write_layer = torch.compile(write_layer, dynamic=False)

    def empty(self, B):
        s, dev = self.s, self.emb.device
        return ([torch.zeros(B, s.d_key, s.d, device=dev)] * s.layers,
                [torch.zeros(B, s.d_key, device=dev)] * s.layers,
                torch.ones(B, 1, 1, device=dev))

    def angles(self, rows):
        key = (rows, self.emb.device)
        if key not in self.tables:
            w = self.s.theta ** (-torch.arange(0, self.s.head_dim, 2).float()
                                 / self.s.head_dim)
            a = (torch.arange(rows).float()[:, None] * w).to(self.emb.device)
            self.tables[key] = (a.cos(), a.sin())
        return self.tables[key]

    def segment(self, ids, state):
        """Reads and writes one segment of each document.  Returns its rows
        (memory rows last), the new state, the mean gate of each layer and the
        mean of `stuck`."""
        s = self.s
        A, z, fresh = state
        x = F.embedding(ids, self.emb)
        x = torch.cat([x, self.memory.expand(len(ids), -1, -1)], 1)
        cos, sin = self.angles(x.shape[1])
        A, z, gates, stuck = list(A), list(z), [], 0
        for i, layer in enumerate(self.layers):
            x, A[i], z[i], gate, far = self.write_layer(
                x, A[i], z[i], fresh, layer.weights(), cos, sin, s.heads,
                s.kv_heads, s.eps, s.mem, self.amp)
            gates.append(gate)
            stuck = stuck + far / s.layers
        return (x, (A, z, torch.zeros_like(fresh)), torch.stack(gates), stuck)

    def frozen(self, ids, state):
        """Rows of a segment that writes nothing (rule "frozen")."""
        s = self.s
        x = F.embedding(ids, self.emb)
        cos, sin = self.angles(x.shape[1])
        for i, layer in enumerate(self.layers):
            x = self.read_layer(x, state[0][i], state[1][i], layer.weights(),
                                cos, sin, s.heads, s.kv_heads, s.eps, self.amp)
        return x

    def logits(self, rows):
        head = self.emb if self.head is None else self.head
        return linear(rms(rows, self.norm, self.s.eps), head,
                      self.amp).float()


def plain_init(m):
    for name, p in m.named_parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=p.shape[1] ** -0.5)
        elif name.endswith("bb"):
            nn.init.constant_(p, -1.0)
        else:
            nn.init.ones_(p)
    for layer in m.layers:
        nn.init.normal_(layer.mb, std=0.02)
        for p in (layer.o, layer.down):
            p.data.mul_((2 * m.s.layers) ** -0.5)


def structured_init(m, unit=1.0, peak=40.0, sharp=1.5, copy=0.5, value=0.5,
                    same=0.7):
    """The start without which recall is not found for a long time: token rows
    share a direction, by which the heads of layer 0 look 1, 2, 3, ... rows
    back; later layers match equal contents (Wk = Wq) and copy what they find
    (Wo = copy x Wv^T); memory keys equal memory queries."""
    plain_init(m)
    s, d, hd = m.s, m.s.d, m.s.head_dim
    half = hd // 2
    line = F.normalize(torch.randn(d), dim=0)
    for table, size in ((m.emb, 1.0), (m.memory, 6.0)):
        # Equal lengths: else a long row draws more attention than a near one.
        table.data.sub_(torch.outer(table.data @ line, line))
        table.data.copy_(F.normalize(table.data, dim=1) * size + line * unit)
    first = m.layers[0]
    w = s.theta ** (-torch.arange(0, hd, 2).float() / hd)
    near = (w > 0.01).float()       # slow angles do not tell neighbours apart
    # After the norm a row's part along `line` is sqrt(d) unit/sqrt(1+unit^2).
    scale = peak ** 0.5 / (d ** 0.5 * unit / (1 + unit * unit) ** 0.5)
    for h in range(s.heads):
        at = slice(h * hd, (h + 1) * hd)
        back = h + 1
        first.q.data[at] *= 0.1
        first.k.data[at] *= 0.1
        first.q.data[at][:half] += (scale * near)[:, None] * line
        first.k.data[at][:half] += (near * scale * torch.cos(w * back)
                                    )[:, None] * line
        first.k.data[at][half:] += (near * scale * torch.sin(w * back)
                                    )[:, None] * line
    if s.heads > 1:
        own = (1 - same * same) ** 0.5
        v0 = first.v.data[:hd].clone()
        o0 = first.o.data[:, :hd].clone()
        for h in range(1, s.heads):
            at = slice(h * hd, (h + 1) * hd)
            first.v.data[at] = same * v0 + own * first.v.data[at]
            first.o.data[:, at] = same * o0 + own * first.o.data[:, at]
    for i, layer in enumerate(m.layers):
        if i:
            layer.q.data.mul_(sharp)
            layer.k.data.copy_(layer.q.data)
            nn.init.orthogonal_(layer.v)
            layer.o.data.copy_(layer.v.data.t() * copy)
        layer.mk.data.copy_(layer.mq.data)
        layer.mv.data.mul_(0.1).add_(torch.eye(d) * value)
    for i in range(1, min(3, s.layers)):
        zone_heads(m, i)


@torch.no_grad()
def zone_heads(m, index, heads=2, strength=3.2, content=0.3):
    """In some heads of a layer each memory row looks at its own part of the
    segment; else all of them begin alike, and all but one fall silent."""
    s, hd = m.s, m.s.head_dim
    ids = torch.randint(2, s.vocab, (8, s.segment))
    x = torch.cat([F.embedding(ids, m.emb), m.memory.expand(8, -1, -1)], 1)
    cos, sin = m.angles(x.shape[1])
    for layer in m.layers[:index]:
        x = block(x, layer.weights(), cos, sin, s.heads, s.kv_heads, s.eps,
                  False)
    layer = m.layers[index]
    h = rms(x, layer.n1, s.eps).mean(0)
    token = h[:s.segment].mean(0, keepdim=True)
    dual = torch.linalg.pinv(torch.cat([h[s.segment:], token]))
    w = s.theta ** (-torch.arange(0, hd, 2).float() / hd)
    far = (s.segment + torch.arange(s.mem)
           - (torch.arange(s.mem) + 0.5) * s.segment / s.mem)
    wide = ((w > 0.008) & (w < 0.2)).float() * strength ** 0.5
    turn = far[:, None] * w
    q = torch.cat([turn.cos() * wide, -turn.sin() * wide], 1)
    k = torch.cat([wide, torch.zeros_like(wide)])
    for head in range(heads):
        at = slice(head * hd, (head + 1) * hd)
        layer.q.data[at] = layer.q.data[at] * content + (dual[:, :s.mem] @ q).T
        layer.k.data[at] = (layer.k.data[at] * content
                            + torch.outer(k, dual[:, s.mem]))
