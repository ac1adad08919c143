"""Which words does a network take for relatives when nobody explains them?"""

import numpy as np

from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.embedding import Embedding
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches

EPOCHS = 6  # try 0: before any training the nearest word is a matter of luck
DIM = 2  # try 1: one number for each word; kinds still form, the loss is higher
SPARSE = True  # try False: the same neighbours, but each gradient stores all 29 rows
SEED = 0  # try 1: another start, other neighbours of the same kind

ones, teens, tens = (
    kind.split()
    for kind in (
        "one two three four five six seven eight nine",
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
        "twenty thirty forty fifty sixty seventy eighty ninety",
    )
)
below = [[word] for word in ["", *ones, *teens]]
below += [[ten, one] for ten in tens for one in ["", *ones]]  # "forty", "two"
numbers = [[one, "hundred"] * (one != "") + rest for one in ["", *ones] for rest in below]
text = [word for number in numbers for word in [*number, "."] if word]
words = [".", "hundred", *ones, *teens, *tens]
ids = np.array([words.index(word) for word in text])  # "three hundred forty two . three ..."

rng = np.random.default_rng(SEED)
table = Embedding(rng.standard_normal((len(words), DIM), dtype=np.float32), sparse=SPARSE)
network = Sequential([table, Linear(np.zeros((len(words), DIM), np.float32))])
optimizer = StochasticGradientDescent(network, learning_rate=1.0)
criterion, losses, rows = CrossEntropy(), [np.log(len(words))], [0]
for _ in range(EPOCHS):
    for batch in minibatches(len(ids) - 1, 16, rng=rng):  # from each word, guess the next
        losses.append(criterion.forward(network.forward(ids[batch]), ids[batch + 1]))
        network.backward(criterion.backward())
        rows.append(table.grads["weight"].size // DIM)  # of a csr_array: what is stored
        optimizer.step()
print(f"loss {np.mean(losses[-280:]):.2f}, rows in a gradient {np.mean(rows[1:] or rows):.1f}")

weight = table.params["weight"]
print("word       its row           nearest words")
for word in ("two", "seven", "twelve", "nineteen", "forty", "ninety"):
    row = weight[words.index(word)]
    near = np.argsort(np.linalg.norm(weight - row, axis=1))[1:4]
    print(f"{word:9}" + "".join(f"{number:6.1f}" for number in row), end="      ")
    print(*(words[i] for i in near), sep=", ")
