"""When has a network learned enough?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.training.early_stopping import EarlyStopping
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

SAMPLES = 100  # try 600: more to learn from, and a far lower turning point
WRONG = 0.0  # try 0.2: wrong labels to memorise, and the accuracy falls as well
PATIENCE = 5  # try 1, 20: stops at the first bad epoch, too early; the same best, later
SEED = 0  # try 1: another draw, the same shape

rng = np.random.default_rng(SEED)
digits = load_digits()
apart, answers, x, labels = stratified_split(*digits, rng=rng, test_fraction=SAMPLES / 1797)
wrong = rng.choice(len(x), int(WRONG * len(x)), replace=False)
labels[wrong] = (labels[wrong] + rng.integers(1, 10, size=len(wrong))) % 10
network = mlp([64, 64, 10], rng=rng)
optimizer = Momentum(network, learning_rate=0.05)
stop, chooses = EarlyStopping(network, patience=PATIENCE), (apart[:300], answers[:300])

stopped, history = 0, []
for epoch in range(1, 61):  # goes on after the stop, to show what it spared
    history += train(
        network, optimizer, x, labels, epochs=1, batch_size=10, rng=rng, validation=chooses
    )
    if not stopped and stop(history):
        stopped = epoch

print("epoch   training loss   validation loss   validation accuracy")
for epoch in sorted({1, 3, 10, 30, 60, stop.best_epoch, stopped} - {0}):
    e = history[epoch - 1]
    note = "  best" * (epoch == stop.best_epoch) + "  stop" * (epoch == stopped)
    print(f"{epoch:5}{e.loss:16.3f}{e.validation_loss:18.3f}{e.validation:22.3f}{note}")
print("accuracy on the digits that nobody used")
print(f"  network of the best epoch   {accuracy(stop.best, apart[300:], answers[300:]):.3f}")
print(f"  network of epoch 60         {accuracy(network, apart[300:], answers[300:]):.3f}")
