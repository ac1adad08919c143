"""Is a network with few parameters a cheap one?"""

import numpy as np

from lexicon.architectures.convolution import Convolution, Reshape
from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.embedding import Embedding
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.parameter_count import count_layers, total, training_memory

BATCH = 32  # try 1, 512: FLOPs and kept bytes grow with the batch, parameters do not
FILTERS = 16  # try 64: the convolution takes four times as many FLOPs, and 480 parameters more
VOCABULARY = 10000  # try 100000: ten times the parameters, and no FLOP more
OPTIMIZER_ARRAYS = 1  # try 0, 2: momentum keeps one number a parameter, plain descent 0, Adam 2


def zeros(*shape):  # what the weights are does not matter here
    """Return weights of 0."""
    return np.zeros(shape, np.float32)


images = load_digits()[0][:BATCH].reshape(-1, 1, 8, 8)
words = np.arange(BATCH) % VOCABULARY
flat = FILTERS * 8 * 8
reads_images = [
    Convolution(zeros(FILTERS, 1, 3, 3), padding=1),
    Activation(relu),
    Reshape((flat,)),
    Linear(zeros(10, flat)),
]
reads_words = [Embedding(zeros(VOCABULARY, 32)), Linear(zeros(10, 32))]

for name, layers, batch in ("images", reads_images, images), ("words", reads_words, words):
    rows = count_layers(Sequential(layers), batch)
    print(f"{len(batch):4} {name:<11}parameters   FLOPs forward  FLOPs of a step   bytes kept")
    for row in [*rows, total(rows)]:
        counts = f"{row.forward_flops:16,} {row.step_flops:16,} {row.kept_bytes:12,}"
        print(f"{row.kind:15}{row.parameters:11,}{counts}")
    memory = training_memory(rows, optimizer_arrays=OPTIMIZER_ARRAYS)
    print("bytes in training: " + "".join(f"{name:>14}" for name in memory._fields))
    print(f"{sum(memory):16,} = " + "".join(f"{held:14,}" for held in memory) + "\n")
