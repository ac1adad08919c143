"""What is lost by keeping n of every m weights, and not the best anywhere?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.magnitude_prune import magnitude_mask
from lexicon.sparsity.n_m_sparsity import NMLinear, n_m_mask, pack_n_m
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

N = 2  # try 1: half as many weights; the cut hurts more, and most of it heals
M = 4  # try 8: half as many weights, and one bit more for each position
SEED = 0  # try 1: another network, about the same shares of |w|

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
dense = mlp([64, 64, 10], rng=rng)
train(dense, Momentum(dense, learning_rate=0.05), x, labels, epochs=10, batch_size=32, rng=rng)
read = accuracy(dense, x_test, labels_test)
print(f"64 inputs, 64 neurons, dense: {4 * 64 * 64:,} bytes, accuracy {read:.3f}\n")
print("                 share of              accuracy     groups with over n")
print("kept             |w| kept    bytes    cut   tuned    in rows   in columns")
for name in ["best anywhere", f"best {N} of {M}", f"some {N} of {M}"]:
    masks, layers = [], []
    for layer in dense.layers[::2]:
        w, b = layer.params["weight"], layer.params["bias"]
        scores = rng.random(w.shape) if "some" in name else np.abs(w)
        masks.append(n_m_mask(scores, N, M))
        if name == "best anywhere":
            masks[-1] = magnitude_mask(w, 1 - N / M)
            layers += [CSRLinear.from_dense(w, masks[-1], b), Activation(relu)]
        else:
            layers += [NMLinear(pack_n_m(w, masks[-1], M), b), Activation(relu)]

    w, mask = np.abs(dense.layers[0].params["weight"]), masks[0]
    held = layers[0].weight
    arrays = [held.data, held.indices, held.indptr] if name == "best anywhere" else held[:2]
    over = [(side.reshape(-1, M).sum(axis=1) > N).mean() for side in (mask, mask.T)]
    row = f"{name:15}  {w[mask].sum() / w.sum():8.2f}  {sum(a.nbytes for a in arrays):7,}"
    network = Sequential(layers[:-1])
    row += f"  {accuracy(network, x_test, labels_test):.3f}"
    again = np.random.default_rng(SEED)  # the same batches for all three
    tuner = Momentum(network, learning_rate=0.05)
    train(network, tuner, x, labels, epochs=3, batch_size=32, rng=again)
    row += f"   {accuracy(network, x_test, labels_test):.3f}"
    print(f"{row}   {over[0]:8.0%}   {over[1]:10.0%}")
