"""Eight experts, one asked for each image: what do the seven idle ones buy?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.mixture_of_experts import MixtureOfExperts
from lexicon.sparsity.sparse_vs_dense import dense_width
from lexicon.sparsity.token_routing import LoadBalance
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

K = 1  # try 2, 8: more FLOPs from the same weights; 8 loses to the dense network of equal FLOPs
DOMAINS = 4  # try 1: one kind of image, and the lean dense network wins
BALANCE = 0.1  # try 0.0: a few experts get everything, and the others stand idle
SEED = 0  # try 1: other images, the same order

rng = np.random.default_rng(SEED)
data = stratified_split(*load_digits(), rng=rng)
views = np.stack([np.arange(64), *(rng.permutation(64) for _ in range(DOMAINS - 1))])
domain, domain_test = (rng.integers(DOMAINS, size=len(part)) for part in data[::2])
x, x_test = (  # each image has its pixels shuffled in one of DOMAINS fixed ways
    np.take_along_axis(part, views[which], axis=1)
    for part, which in zip(data[::2], (domain, domain_test), strict=True)
)
labels, labels_test = data[1::2]

gate = Sequential([Linear(he_normal(64, 8, rng=rng)), LoadBalance(BALANCE, K)])
mixture = MixtureOfExperts(gate, [mlp([64, 8, 10], rng=rng) for _ in range(8)], K)
held, used = 64 * 8 + 8 * (64 + 10) * 8, 64 * 8 + K * (64 + 10) * 8  # weights: gate + experts
lean, large = (mlp([64, dense_width([64, 1, 10], n)[0], 10], rng=rng) for n in (used, held))

print("                        weights  FLOPs a sample  accuracy")
for name, network in {"dense": lean, f"mixture, {K} of 8": mixture, "dense, large": large}.items():
    optimizer = Momentum(network, learning_rate=0.1)
    train(network, optimizer, x, labels, epochs=20, batch_size=32, rng=rng)
    weights = sum(theta.size for theta in network.params.values() if theta.ndim == 2)
    flops = 2 * (used if network is mixture else weights)
    print(f"{name:22}  {weights:7d}  {flops:14d}  {accuracy(network, x_test, labels_test):8.3f}")

print("\nthe gate was not told the domain; who is asked, % of each domain's choices")
chosen = mixture.choose(gate.forward(x_test))
for d in range(DOMAINS):
    share = 100 * chosen[domain_test == d].mean(axis=0) / K
    print(f"domain {d}   ", " ".join(f"{s:5.0f}" for s in share))
