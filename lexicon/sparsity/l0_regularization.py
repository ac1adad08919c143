"""L0 regularization trains noisy gates under a price for each open one, until some are exactly 0.

The honest price of a network is how many parts it uses, but a count has no slope. So each feature
gets a gate z that is drawn at random, and the probability that it is open has one. The draw is a
sigmoid of logistic noise with location log α, stretched a little beyond 0 and 1, and cut off there,
so that exact zeros and exact ones happen:

    s = σ((log u - log(1 - u) + log α) / β)        u uniform in (0, 1), anew at each forward
    z = min(1, max(0, s (ζ - γ) + γ))              γ = -0.1, ζ = 1.1
    y = x ⊙ z                                      price λ Σ P(z > 0)
    P(z > 0) = σ(log α - β log(-γ/ζ))

    dx = dy ⊙ z
    d log α = (Σₙ dyₙ ⊙ xₙ) ⊙ dz/ds · s (1 - s) / β + λ P (1 - P),   dz/ds = ζ - γ, 0 where cut off

When training is over the noise goes: z = min(1, max(0, σ(log α)(ζ - γ) + γ)). Here a gate belongs
to a feature, a pixel or a hidden neuron, the group version of the paper; a gate for every single
weight is left out.

References
----------
Louizos, C., Welling, M., Kingma, D. (2018). Learning sparse neural networks through L0
    regularization. ICLR.
Maddison, C., Mnih, A., Teh, Y. (2017). The concrete distribution: a continuous relaxation of
    discrete random variables. ICLR.
Gale, T., Elsen, E., Hooker, S. (2019). The state of sparsity in deep neural networks.
    arXiv:1902.09574.
"""

from copy import deepcopy

import numpy as np
from scipy.special import expit, logit

from lexicon.foundations.forward_pass import Layer, Sequential
from lexicon.foundations.linear_layer import Linear, check_batch

__all__ = ["HardConcrete", "fold_gates"]

GAMMA, ZETA = -0.1, 1.1


class HardConcrete:
    """Multiply every feature by a gate of its own, noisy while it trains.

    Parameters
    ----------
    log_alpha : ndarray, shape (n,)
        Where each gate starts, floating point and finite: open at 2, undecided at 0; copied.
    penalty : float
        λ, the price of one open gate in units of the loss, 0 or above. Its gradient is added by
        `backward`; a loss that is reported does not hold it.
    rng : numpy.random.Generator
        Draws the noise, one number a gate and forward.
    temperature : float, default 2/3
        β, above 0.

    Attributes
    ----------
    params, grads : dict
        ``"log_alpha"`` (n,).
    training : bool
        True at first: gates are noisy. Set it to False before anything is measured.

    Raises
    ------
    TypeError
        If `log_alpha` is not floating point.
    ValueError
        If `log_alpha` is not a vector of at least one finite number, or a number is out of range.
    """

    def __init__(
        self,
        log_alpha: np.ndarray,
        *,
        penalty: float,
        rng: np.random.Generator,
        temperature: float = 2 / 3,
    ) -> None:
        if not np.issubdtype(log_alpha.dtype, np.floating):
            raise TypeError(f"log_alpha must be floating point, got {log_alpha.dtype}")
        if log_alpha.ndim != 1 or len(log_alpha) == 0 or not np.isfinite(log_alpha).all():
            raise ValueError(f"log_alpha must be (n ≥ 1,) and finite, got {log_alpha}")
        if not 0 <= penalty < np.inf:
            raise ValueError(f"penalty must be 0 or above and finite, got {penalty}")
        if not 0 < temperature < np.inf:
            raise ValueError(f"temperature must be above 0 and finite, got {temperature}")
        self.params = {"log_alpha": log_alpha.copy()}
        self.grads: dict[str, np.ndarray] = {}
        self.penalty = penalty
        self.temperature = temperature
        self.training = True
        self._rng = rng
        self._kept: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @property
    def gates(self) -> np.ndarray:
        """Return the gates without noise (n,), in [0, 1]: exactly 0 where closed."""
        return _stretched(expit(self.params["log_alpha"])).clip(0, 1)

    @property
    def open_probability(self) -> np.ndarray:
        """Return for each gate (n,) how likely a draw is above 0; the sum is the expected L0."""
        return expit(self.params["log_alpha"] - self.temperature * np.log(-GAMMA / ZETA))

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Multiply a batch by the gates: drawn anew in training, without noise otherwise.

        Parameters
        ----------
        x : ndarray, shape (N, n)
            A batch; kept, not copied.

        Returns
        -------
        ndarray, shape (N, n)
            The features, each times its gate; one draw for the whole batch.

        Raises
        ------
        TypeError, ValueError
            As `check_batch`.
        """
        log_alpha = self.params["log_alpha"]
        check_batch("x", x, len(log_alpha), log_alpha.dtype)
        if self.training:
            noise = logit(self._rng.random(len(log_alpha)))
            s, beta = expit((log_alpha + noise) / self.temperature), self.temperature
        else:
            s, beta = expit(log_alpha), 1.0
        stretched = _stretched(s)
        z = stretched.clip(0, 1).astype(x.dtype)
        between = (stretched > 0) & (stretched < 1)  # where cut off, z does not follow
        self._kept = x, z, between * (ZETA - GAMMA) * s * (1 - s) / beta
        return x * z

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads`, the price's share included, and return the gradient of the input.

        Parameters
        ----------
        dy : ndarray, shape (N, n)
            The gradient of the loss with respect to the output of the last `forward`.

        Returns
        -------
        ndarray, shape (N, n)
            The gradient of the loss with respect to that `forward`'s input.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError, ValueError
            As `check_batch`.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        x, z, slope = self._kept
        check_batch("dy", dy, len(z), x.dtype, samples=len(x))
        self._kept = None
        p = self.open_probability
        dz = (dy * x).sum(axis=0)
        self.grads = {"log_alpha": (dz * slope + self.penalty * p * (1 - p)).astype(x.dtype)}
        return dy * z


def fold_gates(network: Sequential) -> Sequential:
    """Multiply trained gates into the weights behind them: the same function without gates.

    Parameters
    ----------
    network : Sequential
        Each `HardConcrete` stands right before a `Linear`; not changed.

    Returns
    -------
    Sequential
        Copies of all other layers. A closed gate has left a column of zeros behind, which
        `prune_network` can remove.

    Raises
    ------
    TypeError
        If a gate stands elsewhere.
    """
    layers: list[Layer] = []
    gates: np.ndarray | None = None
    for layer in network.layers:
        if gates is not None:
            if not isinstance(layer, Linear):
                raise TypeError(f"gates must stand before a Linear, got {type(layer).__name__}")
            layers.append(Linear(layer.params["weight"] * gates, layer.params["bias"]))
            gates = None
        elif isinstance(layer, HardConcrete):
            gates = layer.gates
        else:
            layers.append(fold_gates(layer) if isinstance(layer, Sequential) else deepcopy(layer))
    if gates is not None:
        raise TypeError("gates must stand before a Linear, got the end of a Sequential")
    return Sequential(layers)


def _stretched(s: np.ndarray) -> np.ndarray:
    return s * (ZETA - GAMMA) + GAMMA
