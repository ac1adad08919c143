"""A sparse autoencoder rebuilds its input from a few features of many, and so finds the features.

Data is often a sum of a few things out of many possible ones, more than it has numbers: then no
basis can have an axis for each. An overcomplete code can, if few of its F features may speak:

    a  = x Wᵀ + b                  one score for each feature
    h  = relu(the k largest of a)  the code, at most k of F
    x̂  = h Dᵀ + c                  the columns of D are the features, each of length 1
    L  = Σₙ ‖x̂ₙ - xₙ‖² / 2N

Without the fixed length a feature could grow while its code shrinks. W starts as Dᵀ. A feature
that never is among the k best never learns: `dead` finds such, and `revive` points them at what is
rebuilt worst. The L1 penalty, the other way to few features, is left out: it also shrinks the code.

References
----------
Olshausen, B., Field, D. (1996). Emergence of simple-cell receptive field properties by learning a
    sparse code for natural images. Nature 381.
Makhzani, A., Frey, B. (2014). k-sparse autoencoders. ICLR.
Elhage, N., et al. (2022). Toy models of superposition. Transformer Circuits Thread.
Bricken, T., et al. (2023). Towards monosemanticity: decomposing language models with dictionary
    learning. Transformer Circuits Thread.
Cunningham, H., Ewart, A., Riggs, L., Huben, R., Sharkey, L. (2023). Sparse autoencoders find
    highly interpretable features in language models. arXiv:2309.08600.
"""

import numpy as np
from numpy.typing import DTypeLike
from scipy.optimize import linear_sum_assignment

from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.training.gradient_descent import Optimizer
from lexicon.training.stochastic_gradient_descent import minibatches

__all__ = ["SparseAutoencoder", "matched_cosines", "train_autoencoder"]


class SparseAutoencoder:
    """Rebuild each sample from at most k of F features.

    Parameters
    ----------
    n_in : int
        Numbers in a sample, at least 1.
    n_features : int
        F, usually more than `n_in`.
    k : int
        How many features may speak for a sample, 1 to F.
    rng : numpy.random.Generator
        Draws the first features: uniform directions.
    dtype : float32 or float64
        The type of the weights.

    Attributes
    ----------
    params, grads : dict
        Of encoder and decoder: ``"0.weight"`` (F, in), ``"0.bias"`` (F,), ``"3.weight"`` (in, F),
        ``"3.bias"`` (in,).
    code : ndarray, shape (N, F), or None
        h of the last `forward`.

    Raises
    ------
    TypeError
        If `dtype` is another.
    ValueError
        If a number is out of range.
    """

    def __init__(
        self,
        n_in: int,
        n_features: int,
        k: int,
        *,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
        if n_in < 1:
            raise ValueError(f"n_in must be at least 1, got {n_in}")
        if not 1 <= k <= n_features:
            raise ValueError(f"k must be 1 to n_features = {n_features}, got {k}")
        directions = _unit(rng.standard_normal((n_features, n_in))).astype(dtype)
        self._encoder, self._decoder = Linear(directions), Linear(directions.T)
        self._coding = Sequential([self._encoder, KWinnersTakeAll(k), Activation(relu)])
        self._whole = Sequential([*self._coding.layers, self._decoder])
        self.code: np.ndarray | None = None

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Return the parameters of encoder and decoder, the arrays themselves."""
        return self._whole.params

    @property
    def grads(self) -> dict[str, np.ndarray]:
        """Return the gradients of the last `backward`, under the names of `params`."""
        return self._whole.grads

    @property
    def features(self) -> np.ndarray:
        """Return the features as rows (F, in): the columns of the decoder, a view."""
        return self._decoder.params["weight"].T

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Rebuild a batch, and keep its `code`.

        Parameters
        ----------
        x : ndarray, shape (N, in)
            A batch, of the type of the weights.

        Returns
        -------
        ndarray, shape (N, in)
            The rebuilt batch, x̂.

        Raises
        ------
        TypeError, ValueError
            As `Linear.forward` and `KWinnersTakeAll.forward`.
        """
        self.code = self._coding.forward(x)
        return self._decoder.forward(self.code)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads` and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape (N, in)
            The gradient of the loss with respect to x̂.

        Returns
        -------
        ndarray, shape (N, in)
            The gradient with respect to the input.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError, ValueError
            As `Linear.backward`.
        """
        return self._whole.backward(dy)

    def normalize(self) -> None:
        """Scale every feature back to length 1, in place: after every step."""
        self.features[:] = _unit(self.features)

    def dead(self, x: np.ndarray) -> np.ndarray:
        """Find the features that speak for no sample.

        Parameters
        ----------
        x : ndarray, shape (N, in)
            Samples, the more the better: a rare feature is not a dead one.

        Returns
        -------
        ndarray of bool, shape (F,)
            True where the code is 0 for every sample.

        Raises
        ------
        TypeError, ValueError
            As `forward`.
        """
        return np.asarray((self._coding.forward(x) == 0).all(axis=0))

    def revive(self, x: np.ndarray) -> int:
        """Point the dead features at the samples that are rebuilt worst.

        Each takes the direction of one sample's residual, the worst first, for decoder and
        encoder, and a bias of 0. Their gradients were 0, so a velocity has faded to 0 too.

        Parameters
        ----------
        x : ndarray, shape (N, in)
            Samples.

        Returns
        -------
        int
            How many were revived: the dead ones, or N where there are fewer samples.

        Raises
        ------
        TypeError, ValueError
            As `forward`.
        """
        dead = np.flatnonzero(self.dead(x))[: len(x)]
        residual = x - self.forward(x)
        worst = np.argsort(-(residual**2).sum(axis=1), kind="stable")[: len(dead)]
        self.features[dead] = self._encoder.params["weight"][dead] = _unit(residual[worst])
        self._encoder.params["bias"][dead] = 0
        return len(dead)


def train_autoencoder(
    autoencoder: SparseAutoencoder,
    optimizer: Optimizer,
    x: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    revive: bool = False,
) -> list[float]:
    """Train on the squared error, with every feature held at length 1.

    Parameters
    ----------
    autoencoder : SparseAutoencoder
        Trained in place.
    optimizer : Optimizer
        Made for it.
    x : ndarray, shape (N, in)
        Samples, finite.
    epochs : int
        How many times every sample is shown, at least 1.
    batch_size : int
        Samples per step, 1 to N.
    rng : numpy.random.Generator
        Shuffles.
    revive : bool, default False
        Whether to revive dead features after every epoch of the first half.

    Returns
    -------
    list of float
        Mean loss of every epoch, measured while the weights moved.

    Raises
    ------
    TypeError
        If `x` is not of the weights' type.
    ValueError
        If a number is out of range, or `x` is not finite or not (N, in); nothing is changed then.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if not np.isfinite(x).all():
        raise ValueError("x must be finite")
    history = []
    for epoch in range(1, epochs + 1):
        total = 0.0
        for batch in minibatches(len(x), batch_size, rng=rng):
            error = autoencoder.forward(x[batch]) - x[batch]
            total += float((error**2).sum()) / 2
            autoencoder.backward(error / x.dtype.type(len(batch)))
            optimizer.step()
            autoencoder.normalize()
        history.append(total / len(x))
        if revive and 2 * epoch <= epochs:
            autoencoder.revive(x)
    return history


def matched_cosines(planted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Compare known features with found ones, each found one used at most once.

    Parameters
    ----------
    planted : ndarray, shape (P, in)
        The known features, none of them 0.
    found : ndarray, shape (F, in)
        The found ones, F at least P.

    Returns
    -------
    ndarray, shape (P,)
        The |cosine| of each planted feature with its partner; the partners are chosen so that the
        sum is largest.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if planted.ndim != 2 or found.ndim != 2 or planted.shape[1] != found.shape[1]:
        raise ValueError(f"found must be (F, in) like planted, got {found.shape}, {planted.shape}")
    if len(found) < len(planted):
        raise ValueError(f"found must hold at least {len(planted)} features, got {len(found)}")
    cosines = np.abs(_unit(planted) @ _unit(found).T)
    return cosines[linear_sum_assignment(-cosines)]


def _unit(rows: np.ndarray) -> np.ndarray:
    # A row of zeros stays one.
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / np.where(length > 0, length, 1)
