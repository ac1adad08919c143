"""Which norm still reads a digit when the photograph is pale, or was taken against the light?"""

import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.training.batch_norm import BatchNorm
from lexicon.training.layer_norm import LayerNorm, RMSNorm
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

CONTRAST = 0.2  # try 1.0, 5.0: unchanged, the column repeats the first; stronger is borne better
BRIGHTNESS = 0.5  # try 2.0: far brighter than any training image, and layer norm does not mind
SEED = 0  # try 1: another draw, the same story

print("test digits read right       as they are   contrast   brightness")
print(f"{'':40}{f'times {CONTRAST}':>12}{f'plus {BRIGHTNESS}':>13}")
for name, norm in [
    ("no norm", []),
    ("batch norm", [BatchNorm(64)]),
    ("layer norm", [LayerNorm(64)]),
    ("RMS norm", [RMSNorm(64)]),
]:
    rng = np.random.default_rng(SEED)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    hidden, last = Linear(he_normal(64, 32, rng=rng)), Linear(he_normal(32, 10, rng=rng))
    network = Sequential([*norm, hidden, Activation(relu), last])
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=5, batch_size=32, rng=rng)
    shares = [
        accuracy(network, changed, labels_test)
        for changed in (x_test, x_test * CONTRAST, x_test + BRIGHTNESS)
    ]
    print(f"  {name:26}" + "".join(f"{share:12.3f}" for share in shares))
