"""Where does a neuron draw the line between a 6 and a 7, and how does it get there?"""

import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.neuron import Neuron
from lexicon.foundations.weights_and_bias import boundary, signed_distance

BIAS = True  # try False: the offset stays 0, the line can only turn, and many are misread
SCALE = 1.0  # try 10.0, 0.1: the same distances, with harsher answers or milder ones
START = 90.0  # try 180.0: an arrow away from the sixes; it turns round and ends in the same place

rng = np.random.default_rng(0)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
ink = np.zeros((8, 8, 2), np.float32)  # which pixels are summed; eight full ones are 1 unit
ink[4:, :, 0] = 1 / 8  # across: the ink in the lower half of the image
ink[:, :4, 1] = 1 / 8  # up: the ink in its left half
these, unseen = np.isin(labels, (6, 7)), np.isin(labels_test, (6, 7))
x, target = x[these] @ ink.reshape(64, 2), labels[these] == 6
x_test, six = x_test[unseen] @ ink.reshape(64, 2), labels_test[unseen] == 6

angle = np.radians(START)
neuron = Neuron(np.array([np.cos(angle), np.sin(angle)], np.float32), np.zeros(1, np.float32))
weight, bias = neuron.params.values()
print("step   direction of w   offset   steepness   read right")
for step in range(1001):
    if step in (0, 1, 10, 30, 100, 1000):
        (across, up), offset, steepness = boundary(weight, bias)
        right = ((signed_distance(x_test, weight, bias) > 0) == six).mean()
        turned = np.degrees(np.arctan2(up, across))
        print(f"{step:4}   {turned:12.0f}°   {offset:8.2f}   {steepness:9.2f}   {right:10.3f}")
    dz = (neuron.forward(x) - target) / np.float32(len(x))  # what was said minus what is true
    weight -= x.T @ dz
    bias -= BIAS * dz.sum()

weight *= SCALE
bias *= SCALE
print("\nunseen   distance   z = distance x steepness   answer: a 6?")
distance = signed_distance(x_test, weight, bias)
for n in np.argsort(distance)[:: len(x_test) // 6]:
    z, (y,) = x_test[n] @ weight + bias[0], neuron.forward(x_test[n : n + 1])
    print(f"a {6 if six[n] else 7}      {distance[n]:8.2f}   {z:24.2f}   {y:12.5f}")
