# SPDX-License-Identifier: Apache-2.0
"""What is trained, and in which order."""
from armt import Shape
from facts import Stage

PLANS = {
    # Minutes on a CPU: shows that the parts fit, reaches nothing.
    "small": {
        "shape": Shape(d=64, layers=3, heads=4, kv_heads=4, ffn=176,
                       segment=128, mem=4, d_mem=16),
        "lanes": 8, "lr": 3e-3, "gate_price": 0.0,
        "stages": [Stage(300, n=0, forks=2, local=1.0, facts=3),
                   Stage(20, n=2, forks=2, longest=4, rate=1.5)],
    },
    "full": {
        "shape": Shape(),
        "lanes": 128, "lr": 2e-3, "gate_price": 0.01,
        "stages": [
            # A: recall inside a segment.
            Stage(2500, n=0, local=1.0, facts=6),
            # B: memory over a few segments, many facts.
            Stage(500, n=2, local=0.25, longest=4, rate=3.0),
            Stage(1000, n=4, local=0.2, longest=8, rate=3.0),
            Stage(700, n=8, local=0.15, longest=16, rate=2.0),
            # C: states that come from far back.
            Stage(1300, n=8, local=0.1, longest=64, rate=2.0),
            Stage(600, n=8, local=0.1, longest=32, rate=3.0),
            Stage(900, n=8, local=0.1, longest=128, rate=2.5),
            Stage(1000, n=8, local=0.1, longest=512, rate=2.0),
            Stage(1000, n=8, local=0.1, longest=1024, rate=2.0),
        ],
    },
}
