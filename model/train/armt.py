# SPDX-License-Identifier: Apache-2.0
"""ARMT over LLaMA in PyTorch: normalised keys, no denominators.

The arithmetic is that of docs/models.md; rows are batched over documents, and
every document has its own state.  With `amp` the matrix products run in bf16;
states, norms, feature maps and sums stay fp32.

Layers below `first` keep an empty memory: their W_mv is zero, so that reading
and writing there changes nothing and is left out here.
"""
import torch
import torch.nn.functional as F
from torch import nn

CROWD = 1.3     # gates of rows with one key may add up to this for nothing


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


def linear(x, weight):
    """In the type of the weight."""
    return F.linear(x.to(weight.dtype), weight)


def read(x, A, wq):
    q = feature_map(linear(x, wq)).to(wq.dtype)
    return x + torch.bmm(q, A.to(wq.dtype)).float()


def block(x, w, cos, sin, heads, kv_heads, eps):
    """One LLaMA layer; x [B, rows, d]."""
    B, R, d = x.shape
    hd = w["q"].shape[0] // heads
    h = rms(x, w["n1"], eps)

    def split(name, n):
        return linear(h, w[name]).view(B, R, n, hd).transpose(1, 2)

    q, k, v = split("q", heads), split("k", kv_heads), split("v", kv_heads)
    q = rotate(q.float(), cos, sin).to(v.dtype)
    k = rotate(k.float(), cos, sin).to(v.dtype)
    if kv_heads != heads:
        k = k.repeat_interleave(heads // kv_heads, 1)
        v = v.repeat_interleave(heads // kv_heads, 1)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    y = y.transpose(1, 2).reshape(B, R, heads * hd)
    x = x + linear(y, w["o"]).float()
    h = rms(x, w["n2"], eps)
    g = F.silu(linear(h, w["gate"]).float())
    u = linear(h, w["up"]).float()
    return x + linear(g * u, w["down"]).float()


def write(m, A, w):
    """m [B, M, d] memory rows.  Returns the new state, the arguments of the
    write gates [B, M], the keys [B, M, d_key], and the price of rows that crowd on one key: while the
    gates of such rows add up to less than two, a write never makes the state
    larger than its values are."""
    k = feature_map(F.linear(m, w["mk"]))
    v = F.linear(m, w["mv"])
    open_ = F.linear(m, w["mb"], w["bb"])
    b = torch.sigmoid(open_)
    old = torch.bmm(k, A)
    load = torch.bmm(torch.bmm(k, k.transpose(1, 2)), b)
    crowd = (b * F.relu(load - CROWD).square()).mean()
    A = A + torch.bmm((k * b).transpose(1, 2), v - old)
    return A, open_.squeeze(-1), k, crowd


def read_layer(x, A, w, cos, sin, heads, kv_heads, eps):
    if A is not None:
        x = read(x, A, w["mq"])
    return block(x, w, cos, sin, heads, kv_heads, eps)


def write_layer(x, A, w, cos, sin, heads, kv_heads, eps, mem):
    x = read_layer(x, A, w, cos, sin, heads, kv_heads, eps)
    return (x, *write(x[:, -mem:], A, w))


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


BASE = ("q", "k", "v", "o", "gate", "up", "down", "mq")


class Model(nn.Module):
    """A state is a list of A [B, d_key, d], None for layers below `first`."""

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
        self.cast = None

    def compile(self):
        self.read_layer = torch.compile(read_layer, dynamic=False)
        self.write_layer = torch.compile(write_layer, dynamic=False)

    def weights(self):
        """The layers' weights in the types they are used in."""
        out = []
        for layer in self.layers:
            w = dict(layer.named_parameters())
            if self.amp:
                w.update((n, w[n].bfloat16()) for n in BASE)
            out.append(w)
        return out

    def empty(self, B):
        s = self.s
        zero = torch.zeros(B, s.d_key, s.d, device=self.emb.device)
        return [None] * s.first + [zero] * (s.layers - s.first)

    def angles(self, rows):
        key = (rows, self.emb.device)
        if key not in self.tables:
            w = self.s.theta ** (-torch.arange(0, self.s.head_dim, 2).float()
                                 / self.s.head_dim)
            a = (torch.arange(rows).float()[:, None] * w).to(self.emb.device)
            self.tables[key] = (a.cos(), a.sin())
        return self.tables[key]

    def segment(self, ids, state, weights):
        """Reads and writes one segment of each document.  Returns its rows
        (memory rows last), the new state, the gates' arguments [B, layers
        that write, M], the keys [B, layers that write, M, d_key], and the
        price of crowding."""
        s = self.s
        x = F.embedding(ids, self.emb)
        x = torch.cat([x, self.memory.expand(len(ids), -1, -1)], 1)
        cos, sin = self.angles(x.shape[1])
        fixed = (cos, sin, s.heads, s.kv_heads, s.eps)
        new, gates, keys, price = [], [], [], 0
        for A, w in zip(state, weights):
            if A is None:
                x = self.read_layer(x, None, w, *fixed)
            else:
                x, A, gate, k, crowd = self.write_layer(x, A, w, *fixed, s.mem)
                gates.append(gate)
                keys.append(k)
                price = price + crowd
            new.append(A)
        return x, new, torch.stack(gates, 1), torch.stack(keys, 1), price

    def frozen(self, ids, state, weights, middle=None):
        """Rows of a segment that writes nothing (rule "frozen"); with
        `middle` also those after so many layers."""
        s = self.s
        x = F.embedding(ids, self.emb)
        cos, sin = self.angles(x.shape[1])
        for i, (A, w) in enumerate(zip(state, weights)):
            if i == middle:
                half = x
            x = self.read_layer(x, A, w, cos, sin, s.heads, s.kv_heads, s.eps)
        return x if middle is None else (x, half)

    def logits(self, rows):
        head = self.emb if self.head is None else self.head
        rows = rms(rows, self.norm, self.s.eps)
        if self.amp:
            rows, head = rows.bfloat16(), head.bfloat16()
        return F.linear(rows, head).float()


def plain_init(m):
    for name, p in m.named_parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=p.shape[1] ** -0.5)
        elif name.endswith("bb"):
            nn.init.constant_(p, -2.0)
        else:
            nn.init.ones_(p)
    for layer in m.layers:
        nn.init.normal_(layer.mb, std=0.02)
        for p in (layer.o, layer.down):
            p.data.mul_((2 * m.s.layers) ** -0.5)


def structured_init(m, unit=1.0, peak=40.0, sharp=1.5, copy=0.5, value=0.4,
                    same=0.7):
    """The start without which recall is not found for a long time: token rows
    share a direction, by which the heads of layer 0 look 1, 2, 3, ... rows
    back; later layers match equal contents (Wk = Wq) and copy what they find
    (Wo = copy x Wv^T); memory keys equal memory queries, and neither keys nor
    values see which row they come from."""
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
    base = torch.linalg.qr(torch.cat([m.memory.data, line[None]]).T)[0]
    blind = torch.eye(d) - base @ base.T
    for i, layer in enumerate(m.layers):
        if i:
            layer.q.data.mul_(sharp)
            layer.k.data.copy_(layer.q.data)
            nn.init.orthogonal_(layer.v)
            layer.o.data.copy_(layer.v.data.t() * (copy if i < 4
                                                   else copy / 2))
        layer.mq.data.copy_(layer.mq.data @ blind)
        layer.mk.data.copy_(layer.mq.data)
        layer.mv.data.mul_(0.05).add_(torch.eye(d) * value)
        layer.mv.data.copy_(layer.mv.data @ blind)
        if i < s.first:
            for p in (layer.mq, layer.mk, layer.mv, layer.mb):
                p.data.zero_()
    for i in range(1, min(4, s.layers)):
        zone_heads(m, i)


@torch.no_grad()
def zone_heads(m, index, heads=2, strength=4.0, content=0.3):
    """In some heads of a layer each memory row looks at its own part of the
    segment; else all of them begin alike, and all but one fall silent."""
    s, hd = m.s, m.s.head_dim
    ids = torch.randint(2, s.vocab, (8, s.segment))
    x = torch.cat([F.embedding(ids, m.emb), m.memory.expand(8, -1, -1)], 1)
    cos, sin = m.angles(x.shape[1])
    for layer in m.layers[:index]:
        x = block(x, dict(layer.named_parameters()), cos, sin, s.heads,
                  s.kv_heads, s.eps)
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


@torch.no_grad()
def bound_values(m, most, guess):
    """Scales every W_mv down to a spectral norm of at most `most`.  What is
    read goes into what is written; this keeps that loop's gain below one
    whatever the text.  `guess` [layers, d] holds the leading directions from
    call to call."""
    W = torch.stack([layer.mv for layer in m.layers[m.s.first:]])
    for _ in range(2):
        u = F.normalize(torch.bmm(W, guess.unsqueeze(2)), dim=1)
        guess.copy_(F.normalize(torch.bmm(W.transpose(1, 2), u), dim=1
                                ).squeeze(2))
    size = torch.bmm(W, guess.unsqueeze(2)).norm(dim=1)
    scale = (most / size).clamp(max=1.0)
    for i, layer in enumerate(m.layers[m.s.first:]):
        layer.mv.mul_(scale[i])
