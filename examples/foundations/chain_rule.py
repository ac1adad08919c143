"""How many passes does it take to know what every pixel does to every output?"""

import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.activation import tanh
from lexicon.foundations.chain_rule import Affine, Elementwise, jvp, vjp

OUTPUTS = 1  # try 10, 64, 640: reverse takes one pass for each; it ties at 64, then loses
HIDDEN = 32  # try 320: both pay about forty times as much, and the ratio stays
DEPTH = 2  # try 20: reverse keeps more, every step's input; forward none at any depth

rng = np.random.default_rng(0)
image = load_digits()[0][0].astype(np.float64)  # 64 pixels: the inputs
steps, width = [], len(image)
for _ in range(DEPTH):
    steps += [Affine(rng.standard_normal((HIDDEN, width)) / np.sqrt(width)), Elementwise(tanh)]
    width = HIDDEN
steps.append(Affine(rng.standard_normal((OUTPUTS, width)) / np.sqrt(width)))

one_pixel = jvp(steps, image, np.eye(64)[20])  # what does pixel 20 do to all outputs?
one_output = vjp(steps, image, np.eye(OUTPUTS)[0])  # what do all pixels do to output 0?
pixels = jvp(steps, image, np.eye(64))  # the same for every pixel
outputs = vjp(steps, image, np.eye(OUTPUTS))  # and for every output

print(f"64 pixels -> {DEPTH} x {HIDDEN} neurons -> {OUTPUTS} outputs")
print("multiplications of    forward mode    reverse mode")
print(f"one pass            {one_pixel.products:14,}  {one_output.products:14,}")
print(f"passes needed       {64:14,}  {OUTPUTS:14,}")
print(f"all of them         {pixels.products:14,}  {outputs.products:14,}")
print(f"numbers kept        {pixels.kept:14,}  {outputs.kept:14,}")

by_forward, by_reverse = pixels.derivative.T, outputs.derivative  # (OUTPUTS, 64) both
print(f"both give the same {OUTPUTS} x 64 rates:", np.allclose(by_forward, by_reverse, atol=1e-12))
strongest = abs(by_reverse[0]).argmax()
print(f"output 0 depends most on pixel {strongest}: {by_reverse[0, strongest]:+.3f} for each unit")
