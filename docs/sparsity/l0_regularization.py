"""Left, five hundred draws of a gate in order of size: many are exactly 0 or exactly 1, more of
the one as log α falls, of the other as it rises. Right, the pixels that networks pay for at one
price: most of the middle, and none in the outermost columns, which are nearly always blank.

Left panel: z from 0 to 1 against the rank of the draw, for log alpha of minus 2, 0 and 2. Each
curve is flat at zero, rises, and is flat at one; the flat part at zero holds more than half of the
draws for minus 2, about a sixth for 0, and almost none for 2, and the flat part at one mirrors
it. Right panel: the image's eight by eight pixels, coloured by how many of four training runs
left the gate open. The first and the last column are never open, those next to them only in the
lower half; in the middle most pixels are open in three or four runs.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.l0_regularization import HardConcrete
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import minibatches

fig, (draws, image) = plt.subplots(1, 2)
for log_alpha, style, place in [(-2.0, "C0-", 0.88), (0.0, "C1--", 0.52), (2.0, "C2-.", 0.17)]:
    gate = HardConcrete(np.full(500, log_alpha), penalty=0.0, rng=np.random.default_rng(0))
    z = np.sort(gate.forward(np.ones((1, 500)))[0])
    draws.plot(np.linspace(0, 1, 500), z, style)
    draws.text(place, 0.45, f"{log_alpha:.0f}".replace("-", "−"), color=style[:2])
draws.set(title="z, by log α", xlabel="draws, sorted", ylabel="z", xticks=[0, 1], yticks=[0, 1])

x, labels = load_digits()
loss, opened = CrossEntropy(), np.zeros(64)
for seed in range(4):
    rng = np.random.default_rng(seed)
    plain = mlp([64, 32, 10], rng=rng)
    pixels = HardConcrete(np.full(64, 2, np.float32), penalty=0.03, rng=rng)
    network = Sequential([pixels, *plain.layers])
    steps = Momentum(plain, learning_rate=0.1), Momentum(pixels, learning_rate=10.0)
    for batch in (b for _ in range(8) for b in minibatches(len(x), 64, rng=rng)):
        loss.forward(network.forward(x[batch]), labels[batch])
        network.backward(loss.backward())
        for optimizer in steps:
            optimizer.step()
    opened += pixels.gates > 0
picture = image.imshow(opened.reshape(8, 8))
image.set(title="open pixel gates", xticks=[], yticks=[])
fig.colorbar(picture, ax=image, ticks=[0, 2, 4], label="of 4 runs")
