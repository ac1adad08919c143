"""Which format keeps a pruned layer in the fewest bytes, in memory and in a file?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.sparsity.magnitude_prune import magnitude_prune
from lexicon.sparsity.sparse_matrix import stored_bytes, to_csr
from lexicon.sparsity.sparse_storage import bits_per_position, disk_bytes, pack_bitmask, pack_gaps
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

HIDDEN = 512  # try 16: in small files headers weigh most, and one zipped array beats three
LEVELS = 0  # try 16: values that 4 bits could tell apart shrink the files, not the memory
GAP = "uint8"  # try "uint16": no fillers, which pays only where nearly all is zero

rng = np.random.default_rng(0)
network = mlp([64, HIDDEN, 10], rng=rng)
optimizer = Momentum(network, learning_rate=0.05)
train(network, optimizer, *load_digits(), epochs=3, batch_size=64, rng=rng)

memory, files = [], []
for sparsity in [0.0, 0.5, 0.9, 0.95, 0.98, 0.99, 0.998]:
    sparse = magnitude_prune(network.layers[0], sparsity).weight
    if LEVELS:  # every value becomes the middle of one of LEVELS (even) intervals
        step = 2.001 * np.abs(sparse.data).max() / LEVELS
        sparse.data[:] = (np.floor(sparse.data / step) + 0.5) * step
    dense, gaps = sparse.toarray(), pack_gaps(sparse, gap_type=GAP)
    packed = {"CSR": to_csr(dense), "bit mask": pack_bitmask(dense), "gaps": gaps}

    size = {"dense": dense.nbytes} | {name: stored_bytes(p) for name, p in packed.items()}
    floor = bits_per_position(sparse.nnz / dense.size)["floor"] * dense.size / 8
    memory.append((sparsity, *size.values(), round(floor), min(size, key=size.get)))

    parts = {"dense": {"w": dense}} | {name: p._asdict() for name, p in packed.items()}
    size = {name: disk_bytes(arrays, compressed=True) for name, arrays in parts.items()}
    files.append((sparsity, *size.values(), "", min(size, key=size.get)))

for title, rows in [("in memory", memory), ("zipped file", files)]:
    print(f"{title:12s}   dense      CSR bit mask     gaps    floor  fewest bytes")
    for sparsity, *size, fewest in rows:
        print(f"{sparsity:11.1%}", *(f"{n:8}" for n in size), f" {fewest}")
