"""The table's rows before and after training, each word a point. Nobody said which words are tens
and which are ones: words that are followed by the same words have moved together.

Two panels with the 29 words of the numbers up to 999, placed by the two numbers in their rows.
Before training, circles for one to nine, squares for ten to nineteen and triangles for twenty to
ninety lie mixed at random, with a star for the full stop and a cross for the word hundred among
them. After training the circles and the triangles are two small clouds far apart, the squares lie
in a slanting row between them, and the star and the cross stand alone.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.embedding import Embedding
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches

ones, teens, tens = (
    kind.split()
    for kind in (
        "one two three four five six seven eight nine",
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
        "twenty thirty forty fifty sixty seventy eighty ninety",
    )
)
below = [[word] for word in ["", *ones, *teens]]
below += [[ten, one] for ten in tens for one in ["", *ones]]
numbers = [[one, "hundred"] * (one != "") + rest for one in ["", *ones] for rest in below]
words = [".", "hundred", *ones, *teens, *tens]
ids = np.array([words.index(w) for number in numbers for w in [*number, "."] if w])

rng = np.random.default_rng(0)
table = Embedding(rng.standard_normal((len(words), 2), dtype=np.float32), sparse=True)
network = Sequential([table, Linear(np.zeros((len(words), 2), np.float32))])
optimizer = StochasticGradientDescent(network, learning_rate=1.0)
criterion, before = CrossEntropy(), table.params["weight"].copy()
for _ in range(6):
    for batch in minibatches(len(ids) - 1, 16, rng=rng):
        criterion.forward(network.forward(ids[batch]), ids[batch + 1])
        network.backward(criterion.backward())
        optimizer.step()

fig, axes = plt.subplots(1, 2, figsize=(5.6, 2.8), sharex=True, sharey=True)
kinds = [
    (ones, "o", "one to nine"),
    (teens, "s", "ten to nineteen"),
    (tens, "^", "twenty to ninety"),
]
kinds += [(["."], "*", "full stop"), (["hundred"], "X", "hundred")]
for ax, weight, name in zip(
    axes, (before, table.params["weight"]), ("before", "after"), strict=True
):
    for kind, marker, label in kinds:
        points = weight[[words.index(word) for word in kind]]
        ax.plot(*points.T, marker, markersize=5, label=label)
    ax.set(title=f"{name} training", xlabel="first number", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
axes[0].set(ylabel="second number")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
