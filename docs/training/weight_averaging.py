"""Left: one weight on a noisy parabola jitters for ever; its mean settles. Right: after an epoch at
a large rate a network can be bad by chance; the fading mean of its weights hardly feels it.

Left, a thin jagged line over 300 steps begins at about −0.7 and wanders between about −0.4 and 0.7
around the minimum, 0, without settling. The fading mean, dashed, follows it with smaller and slower
swings. The plain mean, thick, rises from the same point and is nearly flat close to 0 in the second
half. Right, the loss on unseen digits after epochs 5 to 10 of six runs. The networks themselves are
dots: most below 0.25, five above 0.3, one of them at 0.69 after the last epoch. The six lines of
the fading means run smoothly between about 0.2 and 0.1, falling slowly.
"""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches
from lexicon.training.training_loop import train
from lexicon.training.weight_averaging import ExponentialMovingAverage, StochasticWeightAveraging

fig, (left, right) = plt.subplots(1, 2)
rng = np.random.default_rng(0)
ball = SimpleNamespace(params={"theta": np.zeros(1)}, grads={})
optimizer = StochasticGradientDescent(ball, learning_rate=0.1)
swa, ema = StochasticWeightAveraging(ball), ExponentialMovingAverage(ball, decay=0.95)
path = []
for step in range(350):
    ball.grads["theta"] = ball.params["theta"] + rng.standard_normal(1)
    optimizer.step()
    if step >= 50:
        swa.update()
        ema.update()
        path.append([m.params["theta"][0] for m in (ball, ema.average, swa.average)])
for curve, style, width in zip(
    np.transpose(path), ("C1-", "C0--", "k-"), (0.7, 1.3, 2), strict=True
):
    left.plot(curve, style, linewidth=width)
left.text(300, 0.78, "weight", color="C1", ha="right")
left.text(300, -0.72, "– – fading mean", color="C0", ha="right")
left.text(300, -0.9, "plain mean", ha="right")
left.set(xlabel="step", xticks=[0, 150, 300], yticks=[-0.5, 0, 0.5], ylim=(-1, 1))
left.set(ylabel="distance from the minimum")

digits = load_digits()
for seed in range(6):
    rng = np.random.default_rng(seed)
    x, labels, apart, answers = stratified_split(*digits, rng=rng, test_fraction=0.5)
    network = mlp([64, 32, 10], rng=rng)
    optimizer = StochasticGradientDescent(network, learning_rate=0.3)
    train(network, optimizer, x, labels, epochs=4, batch_size=16, rng=rng)
    ema, losses = ExponentialMovingAverage(network, decay=0.98), []
    criterion = CrossEntropy()
    for _ in range(6):
        for batch in minibatches(len(x), 16, rng=rng):
            criterion.forward(network.forward(x[batch]), labels[batch])
            network.backward(criterion.backward())
            optimizer.step()
            ema.update()
        models = (network, ema.average)
        losses.append([criterion.forward(m.forward(apart), answers) for m in models])
    own, mean = np.transpose(losses)
    right.plot(np.arange(5, 11), own, "C1o", markersize=4)
    right.plot(np.arange(5, 11), mean, "C0", linewidth=1)
right.text(6.2, 0.55, "network itself", color="C1")
right.text(5, 0.03, "fading mean", color="C0")
right.set(xlabel="epoch", xticks=[5, 10], ylabel="loss", ylim=(0, 0.8), yticks=[0, 0.4, 0.8])
