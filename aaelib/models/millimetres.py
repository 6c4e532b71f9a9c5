"""What a trained model does with shapes in millimetres, whichever library computes it."""

import numpy as np

from ..shapes.clouds import normalize


class InMillimetres:
    """
    Encode, decode and sample in mm, for a class that does so with normalized clouds.

    A class of this kind has the attributes below and two methods: `codes` of normalized clouds (n,
    n_points, 3) and of a number of refinement steps, see `encode`, and `decoded`, the normalized
    clouds of codes (n, code_size).

    Attributes
    ----------
    recipe : Recipe
    scale : float
        Millimetres of one normalized unit.
    gates : (array, array)
        Kernel (code_size, n) and bias (n,) of the gates of the decoder's linear models.
    """

    def encode(self, points, refinement_steps=None):
        """
        Codes of clouds: the encoder's, then refined by some steps (`refinement.refine`).

        If the recipe's encoder sees only a part of a cloud at once, the code is the mean over the
        parts. It then depends a little on the order of the points, which decides the parts.

        Parameters
        ----------
        points : (n, n_points, 3) array
            Clouds in mm, long axis z.
        refinement_steps : int, optional
            The recipe's by default; 0: the encoder's codes, from one pass.

        Returns
        -------
        (n, code_size) float32 array
        """
        return self.codes(self.normalize(points)[0], refinement_steps)

    def decode(self, codes):
        """
        Clouds of codes.

        Parameters
        ----------
        codes : (n, code_size) array

        Returns
        -------
        (n, n_points, 3) float32 array
            In mm around the origin; without a size with "unit-sphere" normalization.

        Raises
        ------
        ValueError
            If the codes are empty, of a wrong shape, or not finite.
        """
        codes = np.asarray(codes, np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.recipe.code_size:
            raise ValueError(f"codes have shape {codes.shape}, not (n, {self.recipe.code_size})")
        if not np.isfinite(codes).all():
            raise ValueError("codes are not finite; leave them out")
        return self.decoded(codes) * np.float32(self.scale)

    def reconstruct(self, points, refinement_steps=None, codes=None):
        """
        Encode and decode clouds, each put back in its place.

        Parameters
        ----------
        points : (n, n_points, 3) array
            Clouds in mm.
        refinement_steps : int, optional
            As in `encode`.
        codes : (n, code_size) array, optional
            What `encode` gave for these clouds, where that is known already.

        Returns
        -------
        (n, n_points, 3) float32 array
            In mm; float64 far from the origin, see `Normalizer.undo`.
        """
        normalized, normalizer = self.normalize(points)
        codes = self.codes(normalized, refinement_steps) if codes is None else codes
        return normalizer.undo(self.decoded(codes))

    def sample(self, n, seed=0):
        """
        Decode `n` draws of the prior.

        Parameters
        ----------
        n : int
        seed : int

        Returns
        -------
        (n, n_points, 3) float32 array
            In mm around the origin.
        """
        return self.decode(self.draw_prior(n, seed))

    def draw_prior(self, n, seed=0):
        """Draw `n` codes (n, code_size) from the prior."""
        shape = (n, self.recipe.code_size)
        return (self.recipe.prior_std * np.random.default_rng(seed).normal(size=shape)).astype("f4")

    def normalize(self, points):
        """Normalize clouds (n, n_points, 3) in mm, see `aaelib.shapes.normalize`."""
        scale = self.scale if self.recipe.normalization == "dataset" else None
        return normalize(points, self.recipe.normalization, scale=scale)
