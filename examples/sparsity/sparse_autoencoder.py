"""Can forty features be found again in data that has only twenty numbers a sample?"""

import numpy as np

from lexicon.sparsity.sparse_autoencoder import (
    SparseAutoencoder,
    matched_cosines,
    train_autoencoder,
)
from lexicon.training.momentum import Momentum

FEATURES = 80  # try 40, 160: with forty some stay lost; with more, more are dead
K = 3  # try 1, 12: one finds fewer; with twelve the loss is lowest, and they are lost
SEED = 0  # try 1: other features, the same story

rng = np.random.default_rng(SEED)
planted = rng.standard_normal((40, 20)).astype(np.float32)
planted /= np.linalg.norm(planted, axis=1, keepdims=True)
amounts = np.zeros((2000, 40), dtype=np.float32)
for sample in amounts:
    sample[rng.choice(40, 3, replace=False)] = rng.uniform(0.5, 1.5, size=3)
x = amounts @ planted  # three of forty in every sample

autoencoder = SparseAutoencoder(20, FEATURES, K, rng=rng)
before = matched_cosines(planted, autoencoder.features)
optimizer = Momentum(autoencoder, learning_rate=0.2)
history = train_autoencoder(autoencoder, optimizer, x, epochs=20, batch_size=50, rng=rng)
after = matched_cosines(planted, autoencoder.features)
axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2]

print("                         mean |cosine|   above 0.9")
for name, cosines in [
    ("first, random features", before),
    ("after training", after),
    ("20 principal axes", matched_cosines(axes, planted)),
]:
    print(f"{name:24} {cosines.mean():13.2f}   {(cosines > 0.9).sum():2d} of {len(cosines)}")
autoencoder.forward(x)
print(f"loss after training      {history[-1]:13.3f}   at first {history[0]:.3f}")
print(f"speak for a sample       {(autoencoder.code > 0).sum(axis=1).mean():13.2f}")
print(f"dead                     {autoencoder.dead(x).sum():13d}   of {FEATURES}")
