"""A mixture of experts holds many small networks, and runs only k of them for each sample.

A gate scores the experts, softmax turns scores into probabilities, and the k most probable answer;
their answers are added, each times its probability. With Tₙ the choice for sample n:

    zₙ = gate(xₙ),   pₙ = softmax(zₙ),   Tₙ = the k largest of zₙ,   yₙ = Σ p[n,e] fₑ(xₙ), e in Tₙ

    dfₑ(xₙ) = p[n,e] dyₙ     dp[n,e] = fₑ(xₙ) · dyₙ     for e in Tₙ, nothing for the others
    dz = p ⊙ (dp - Σₑ pₑ dpₑ)    dx = Σ of what the chosen experts and the gate send back

An expert computes on its own samples and no others, so parameters grow with the number of experts,
and products with k. Softmax is over all experts, before the choice, as in the Switch Transformer:
over the chosen alone it would be constantly 1 for k = 1, and the gate could not learn. Noise on the
gate, and limits on how many samples an expert takes (`token_routing`), are left out.

References
----------
Jacobs, R., Jordan, M., Nowlan, S., Hinton, G. (1991). Adaptive mixtures of local experts. Neural
    Computation 3(1).
Shazeer, N., Mirhoseini, A., Maziarz, K., Davis, A., Le, Q., Hinton, G., Dean, J. (2017).
    Outrageously large neural networks: the sparsely-gated mixture-of-experts layer. ICLR.
Fedus, W., Zoph, B., Shazeer, N. (2022). Switch transformers: scaling to trillion parameter models
    with simple and efficient sparsity. Journal of Machine Learning Research 23(120).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lexicon.foundations.forward_pass import Layer
from lexicon.foundations.softmax import Softmax
from lexicon.sparsity.mask import top_k

__all__ = ["MixtureOfExperts"]


class _Kept(NamedTuple):
    x: np.ndarray
    p: np.ndarray
    rows: list[np.ndarray]  # for every expert, the samples that chose it
    answers: list[np.ndarray]  # and what it said of them
    shape: tuple[int, ...]


class MixtureOfExperts:
    """Let a gate choose k experts for every sample, and run no others.

    Parameters
    ----------
    gate : Layer
        From (N, in) to a score for every expert, (N, experts); usually a `Linear`.
    experts : sequence of Layer
        At least one, all from (N, in) to the same (N, out).
    k : int
        How many experts answer a sample, 1 to the number of experts.

    Attributes
    ----------
    gate, experts, k
        As given.
    params, grads : dict
        All parts', under names such as ``"gate.weight"`` and ``"experts.3.0.weight"``. `backward`
        fills `grads`, with zeros for an expert that no sample chose.

    Raises
    ------
    ValueError
        If there is no expert, one object stands twice, or `k` is out of range.
    """

    def __init__(self, gate: Layer, experts: Sequence[Layer], k: int) -> None:
        if not experts:
            raise ValueError("experts must hold at least one layer, got none")
        if len({id(layer) for layer in [gate, *experts]}) < 1 + len(experts):
            raise ValueError("experts and gate must be distinct: one layer cannot keep two inputs")
        if not 1 <= k <= len(experts):
            raise ValueError(f"k must be 1 to {len(experts)}, got {k}")
        self.gate = gate
        self.experts = list(experts)
        self.k = k
        self.grads: dict[str, np.ndarray] = {}
        self._softmax = Softmax()
        self._kept: _Kept | None = None

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Return the parameters of the gate and of all experts, the arrays themselves."""
        return {
            f"{part}.{name}": theta
            for part, layer in self._parts()
            for name, theta in layer.params.items()
        }

    def choose(self, logits: np.ndarray) -> np.ndarray:
        """Mark the experts that answer each sample.

        Parameters
        ----------
        logits : ndarray, shape (N, experts)
            The gate's scores.

        Returns
        -------
        ndarray of bool, shape (N, experts)
            True at the k largest scores of each row; among equals, at those that come first.

        Raises
        ------
        ValueError
            If a score is NaN, or there are fewer than k in a row.
        """
        return top_k(logits, self.k)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Gather each expert's samples, run it on these, and add up the weighted answers.

        Parameters
        ----------
        x : ndarray, shape (N, in)
            A batch; kept, not copied, so leave it as it is until `backward`.

        Returns
        -------
        ndarray, shape (N, out)
            For each sample the sum of its experts' answers, each times its probability.

        Raises
        ------
        TypeError, ValueError
            As the gate or an expert that meets a batch it cannot take; if the gate does not
            return a score for every expert, or the experts' answers differ in shape.
        """
        logits = self.gate.forward(x)
        if logits.shape != (len(x), len(self.experts)):
            raise ValueError(
                f"gate must return ({len(x)}, {len(self.experts)}), got {logits.shape}"
            )
        p = self._softmax.forward(logits)
        chosen = self.choose(logits)
        rows = [np.flatnonzero(column) for column in chosen.T]
        answers = [
            expert.forward(x[own]) if len(own) else np.empty(0)
            for expert, own in zip(self.experts, rows, strict=True)
        ]
        widths = {answer.shape[1:] for answer in answers if len(answer)}
        if len(widths) != 1:
            raise ValueError(f"experts must return rows of one shape, got {sorted(widths)}")
        y = np.zeros((len(x), *widths.pop()), p.dtype)
        for e, (own, answer) in enumerate(zip(rows, answers, strict=True)):
            if len(own):
                y[own] += p[own, e, None] * answer
        self._kept = _Kept(x, p, rows, answers, y.shape)
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads` and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape (N, out)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape (N, in)
            What the chosen experts and the gate send back, added up.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError
            If `dy` is of another type than the output.
        ValueError
            If the shape is another.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        x, p, rows, answers, shape = self._kept
        if dy.dtype != p.dtype:
            raise TypeError(f"dy must be {p.dtype} like the output, got {dy.dtype}")
        if dy.shape != shape:
            raise ValueError(f"dy must be {shape}, got {dy.shape}")
        self._kept = None
        dp, dx = np.zeros_like(p), np.zeros_like(x)
        for e, (own, answer) in enumerate(zip(rows, answers, strict=True)):
            if len(own):
                dp[own, e] = (answer * dy[own]).sum(axis=1)
                dx[own] += self.experts[e].backward(p[own, e, None] * dy[own])
        dx += self.gate.backward(self._softmax.backward(dp))
        self.grads = {}
        for (part, layer), own in zip(self._parts(), [x, *rows], strict=True):
            for name, theta in layer.params.items():
                # An idle expert still holds the gradients of an earlier batch: not these.
                gradient = layer.grads[name] if len(own) else np.zeros_like(theta)
                self.grads[f"{part}.{name}"] = gradient
        return dx

    def _parts(self) -> list[tuple[str, Layer]]:
        return [("gate", self.gate), *((f"experts.{e}", f) for e, f in enumerate(self.experts))]
