"""How far back does a token hear, when it may look at only a few others?"""

import tracemalloc

import numpy as np
from scipy.sparse import block_diag, csr_array

from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.sparse_attention import SparseAttention, blocks, local, strided
from lexicon.training.momentum import Momentum

WINDOW = 4  # try 8, 12: local reaches the first token, by 2 ways (not learned yet) or by 10
TOKENS = 16  # try 9, 10: two windows of 4 carry a bit over 8 places, and not over 9
LONG = 100_000  # try 20_000: a fifth of the tokens takes 1/25 of the one, a fifth of the other
SEED = 0  # try 1: other bits, the same networks succeed

full, block = (blocks(TOKENS, size, causal=True) for size in (TOKENS, WINDOW))
near, far = local(TOKENS, WINDOW, causal=True), strided(TOKENS, WINDOW, causal=True)
networks = {"all pairs": (full, full), "blocks": (block, block), "local": (near, near)}
networks["local, then strided"] = near, far
B, D, loss = 16, 8, CrossEntropy()  # sequences in a batch, size of a value
print(f"Two layers. The last of {TOKENS} random bits has to say what the first one was.")
print("pattern              pairs  reach  right answers")
for name, patterns in networks.items():
    rng, layers = np.random.default_rng(SEED), []
    for n_in, pattern in zip([2 * TOKENS, D], patterns, strict=True):
        apart = csr_array(block_diag([pattern] * B, format="csr"))  # sequences do not mix
        layers += [Linear(rng.normal(0, D**-0.5, (3 * D, n_in))), SparseAttention(apart)]
    network = Sequential([*layers, Linear(rng.normal(0, D**-0.5, (2, D)))])
    optimizer, right, dy = Momentum(network, learning_rate=0.2), [], np.zeros((B, TOKENS, 2))
    for _ in range(120):
        bits = rng.integers(2, size=(B, TOKENS))
        x = np.eye(2 * TOKENS)[2 * np.arange(TOKENS) + bits]  # which bit, and where
        y = network.forward(x.reshape(B * TOKENS, -1)).reshape(B, TOKENS, 2)[:, -1]
        right.append((y.argmax(axis=1) == bits[:, 0]).mean())
        loss.forward(y, bits[:, 0])
        dy[:, -1] = loss.backward()  # only the last token is asked
        network.backward(dy.reshape(B * TOKENS, 2))
        optimizer.step()
    pairs, heard = patterns[0].nnz + patterns[1].nnz, (patterns[1] @ patterns[0])[[-1]].indices
    print(f"{name:19} {pairs:6d} {TOKENS - 1 - heard.min():6d} {np.mean(right[-20:]):14.2f}")

tracemalloc.start()
attention = SparseAttention(local(LONG, WINDOW, causal=True))
attention.backward(attention.forward(np.ones((LONG, 3 * D), np.float32)))
print(f"{LONG:,} tokens: {4 * LONG**2 / 1e6:,.0f} MB for the scores of all pairs alone, counted;")
print(f"{tracemalloc.get_traced_memory()[1] / 1e6:.0f} MB for all of a local layer, measured")
tracemalloc.stop()
