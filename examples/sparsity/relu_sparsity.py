"""How many zeros do activations have anyway, and what is left to multiply?"""

import numpy as np
from scipy.sparse import csr_array

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.sparsity.magnitude_prune import magnitude_prune
from lexicon.sparsity.relu_sparsity import dead_neurons, input_densities, product_flops
from lexicon.sparsity.sparse_matrix import csr_bytes
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

RATE = 0.05  # try 0.01, 0.2: small steps leave ReLU fewer zeros; large ones kill neurons
K = 5  # try 32: half of all active, and CSR needs more bytes than dense
SEED = 0  # try 1: other numbers, the same story

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
relu_layers, k_wta_layers = (mlp([64, 64, 64, 10], rng=rng).layers for _ in range(2))
k_wta_layers[1::2] = KWinnersTakeAll(K), KWinnersTakeAll(K)

print("activations not zero, of 64      mean  lowest sample  highest  dead neurons")
products = []
for name, layers in (("ReLU", relu_layers), (f"{K}-WTA", k_wta_layers)):
    network = Sequential(layers)
    for when in ("before training", "after 10 epochs"):
        if when == "after 10 epochs":
            optimizer = Momentum(network, learning_rate=RATE)
            train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
        for after in (1, 3):
            speak = 64 * input_densities(network, x)[f"{after + 1}.weight"]
            dead = dead_neurons(Sequential(layers[: after + 1]).forward(x)).sum()
            print(f"{name:7s}{when:16s} layer {after // 2 + 1}  {speak.mean():5.1f}", end="")
            print(f"  {speak.min():13.0f}  {speak.max():7.0f}  {dead:12d}")
    middle, batch = layers[2], csr_array(Sequential(layers[:2]).forward(x))
    all_weights, a_tenth = middle.params["weight"], magnitude_prune(middle, 0.9).weight
    flops = [product_flops(batch, weight) / len(x) for weight in (all_weights, a_tenth)]
    size, read = csr_bytes(batch.nnz, len(x)) / len(x), accuracy(network, x_test, labels_test)
    products.append(f"{name:7s}{flops[0]:13.0f}{flops[1]:25.0f}{size:16.0f}{read:11.3f}")

print("\nFLOPs, 64 to 64: all weights   10 % of weights   input bytes   accuracy")
print(f"dense  {2 * 64 * 64:13d}{'':25s}{64 * 4:16d}", *products, sep="\n")
