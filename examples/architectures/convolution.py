"""What does one filter of nine weights see when it slides over a digit?"""

import numpy as np

from lexicon.architectures.convolution import Convolution, Reshape
from lexicon.data import load_digits

FILTER = "left edges"  # try "top edges", "blur": other weights, another question
SHIFT = 0  # try 1: the digit moves a column to the right, and the map moves with it
PADDING = 1  # try 0: the window has to fit, so the outermost ring of answers is missing
FLIP = False  # try True: convolution as mathematics has it turns the sign of every edge

filters = {  # all symmetric but for their sign, so that a flip is easy to see
    "left edges": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],  # more ink on the right than on the left
    "top edges": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "blur": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
}
window = np.array(filters[FILTER], np.float32)
layer = Convolution((window[::-1, ::-1] if FLIP else window)[None, None], padding=PADDING)

images, labels = load_digits()
ink = Reshape((1, 8, 8)).forward(16 * images[:1])
ink = np.roll(ink, SHIFT, axis=3)  # its last column is empty: by 1, nothing wraps
y = layer.forward(ink)

answers = np.pad(y[0, 0], max(1 - PADDING, 0), constant_values=np.nan)
seen = np.pad(ink[0, 0], max(PADDING - 1, 0))
print(f"a {labels[0]}, in units of ink         its map of {FILTER}")
for pixels, row in zip(seen, answers, strict=True):
    left = "".join(f"{value:3.0f}" if value else "  ." for value in pixels)
    right = "".join("    " if np.isnan(value) else f"{value:4.0f}" for value in row)
    print(f"{left}      {right}".rstrip())

shared = sum(theta.size for theta in layer.params.values())
print(f"parameters: {shared}; a linear layer from 64 pixels to this map: {(64 + 1) * y.size:,}")
