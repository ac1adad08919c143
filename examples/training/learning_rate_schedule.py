"""What do four learning rate schedules make of the same training?"""

from functools import partial

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.training.learning_rate_schedule import cosine, step_decay, warm_up
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import train

PEAK = 0.3  # try 0.05, 0.5: too low, so that constant is best; too high, and decay mends it
INK = 1.0  # try 4.0: pixels four times as large make a steep start, where warm-up pays
WARM = 40  # try 0, 120: none, so that the last two rows are equal; long, and it costs accuracy

STEPS = 160  # 8 epochs of 20 batches
schedules = {
    "constant": lambda step: PEAK,
    "step decay": partial(step_decay, peak=PEAK, at=(80, 120)),
    "cosine": partial(cosine, peak=PEAK, end=STEPS),
    "warm-up, cosine": partial(warm_up, end=WARM, then=partial(cosine, peak=PEAK, end=STEPS)),
}
digits, labels = load_digits()
print("rate at step          0      40      80     120     159   accuracy   jump/epoch")
for name, schedule in schedules.items():
    rates = "".join(f"{schedule(step):8.4f}" for step in (0, 40, 80, 120, 159))
    last, jumps = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, truth, *apart = stratified_split(INK * digits, labels, rng=rng)
        network = mlp([64, 32, 32, 32, 32, 10], rng=rng)
        optimizer = StochasticGradientDescent(network, learning_rate=PEAK)
        settings = {"epochs": 8, "batch_size": 64, "rng": rng, "validation": apart}
        history = train(network, optimizer, x, truth, schedule=schedule, **settings)
        last.append(history[-1].validation)
        jumps.append(np.abs(np.diff([epoch.validation for epoch in history[-4:]])))
    print(f"{name:15s}{rates}{np.mean(last):11.3f}{np.mean(jumps):13.3f}")
