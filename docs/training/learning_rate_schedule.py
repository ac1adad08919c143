"""The same five trainings with a constant rate and with a cosine from the same peak. While the rate
is high both jump about; where it falls, the accuracy settles.

Two panels over 160 steps. On the left the learning rate: constant at 0.3; a step decay that drops
to a tenth at step 80 and again at step 120; a cosine that falls from 0.3 to 0 in half a wave; the
same with a warm-up, which climbs for 40 steps from nearly 0 and then joins the cosine. On the right
the accuracy on unseen digits after each epoch of 20 steps, for five seeds. With the constant rate
it keeps jumping from epoch to epoch, and one run ends below 0.5. With the cosine the five lines
come together after about step 100 and end level, above 0.9.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.training.learning_rate_schedule import cosine, step_decay, warm_up
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import train

falling = partial(cosine, peak=0.3, end=160)
dropping = partial(step_decay, peak=0.3, at=(80, 120))
fig, (left, right) = plt.subplots(1, 2)
steps = np.arange(160)
left.axhline(0.3, color="C1", linestyle="--")
left.step(steps, [dropping(t) for t in steps], "C2", where="post", linewidth=1)
left.plot(steps, [falling(t) for t in steps], "C0")
left.plot(steps[:41], [warm_up(t, end=40, then=falling) for t in steps[:41]], "C3:")
left.text(160, 0.31, "constant", color="C1", ha="right")
left.text(85, 0.2, "cosine", color="C0")
left.text(76, 0.08, "step\ndecay", color="C2", ha="right")
left.text(14, 0.03, "warm-up", color="C3")
left.set(xlabel="step", xticks=[0, 80, 160], ylim=(0, 0.34), yticks=[0, 0.1, 0.2, 0.3])
left.set_title("learning rate")
for seed in range(5):
    for schedule, line in (lambda step: 0.3, "C1--"), (falling, "C0"):
        rng = np.random.default_rng(seed)
        x, labels, *apart = stratified_split(*load_digits(), rng=rng)
        network = mlp([64, 32, 32, 32, 32, 10], rng=rng)
        optimizer = StochasticGradientDescent(network, learning_rate=0.3)
        settings = {"epochs": 8, "batch_size": 64, "rng": rng, "validation": apart}
        history = train(network, optimizer, x, labels, schedule=schedule, **settings)
        seen = [epoch.validation for epoch in history]
        right.plot(range(20, 161, 20), seen, line, linewidth=0.8)
right.set(xlabel="step", xticks=[20, 80, 160], ylim=(0, 1), yticks=[0, 0.5, 1])
right.set_title("accuracy")
right.text(160, 0.15, "dashed: constant", color="C1", ha="right")
right.text(160, 0.04, "cosine", color="C0", ha="right")
