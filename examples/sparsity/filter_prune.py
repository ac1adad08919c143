"""How many filters can a small convolutional network lose, and what does each take along?"""

from math import prod

import numpy as np

from lexicon.architectures.convolution import Convolution, Reshape
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential, trace_shapes
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.filter_prune import filter_scores, remove_filters
from lexicon.sparsity.mask import top_k
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

OTHERS = "random"  # try "smallest": just cut, these read worse than random ones
FINE_TUNE = 2  # try 1: one epoch, and the smallest network heals less, whichever filters it kept
SEED = 0  # try 1: other numbers; just cut, the largest filters lead in the last three rows

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
layers = [Reshape((1, 8, 8)), Convolution(he_normal(9, 8, rng=rng).reshape(8, 1, 3, 3))]
layers += [Activation(relu), Convolution(he_normal(72, 16, rng=rng).reshape(16, 8, 3, 3))]
layers += [Activation(relu), Reshape((256,)), Linear(he_normal(256, 10, rng=rng))]
network = Sequential(layers)
train(network, Momentum(network, learning_rate=0.05), x, labels, epochs=4, batch_size=32, rng=rng)

print(f"                            largest filters   {OTHERS} filters")
print("filters   weights    FLOPs      cut   tuned      cut   tuned")
scores = filter_scores(network)
others = {"random": {name: rng.random(len(score)) for name, score in scores.items()}}
others["smallest"] = {name: -score for name, score in scores.items()}
for share in [1, 3 / 4, 1 / 2, 1 / 4]:
    row = ""
    for ranks in (scores, others[OTHERS]):
        keep = {name: top_k(rank, round(share * len(rank))) for name, rank in ranks.items()}
        small = remove_filters(network, keep)
        row += f"    {accuracy(small, x_test, labels_test):.3f}"
        optimizer, again = Momentum(small, learning_rate=0.05), np.random.default_rng(SEED)
        train(small, optimizer, x, labels, epochs=FINE_TUNE, batch_size=32, rng=again)
        row += f"   {accuracy(small, x_test, labels_test):.3f}"
    sizes = {i: small.params[f"{i}.weight"].size for i in (1, 3, 6)}
    shapes = [shape for _, shape in trace_shapes(small, x[:1])[1:]]
    flops = sum(2 * size * prod(shapes[i][2:]) for i, size in sizes.items())  # at every place
    print(f"{8 * share:.0f} + {16 * share:2.0f}   {sum(sizes.values()):7d}  {flops:7d}{row}")
