"""What a Linear reads and should give, summed over tokens: all that choosing and repair need."""

import numpy as np
import numpy.typing as npt

from edgecompile.graph import FloatArray

Float64 = npt.NDArray[np.float64]
TOGETHER = 4096
"""Rows that are multiplied at once: one large product is faster than many small ones."""


class Moments:
    """Sums of x, y, x x^T and x y^T over tokens; about their means where `centred`.

    Memory: [n, n] and [n, out] float64 and TOGETHER rows, whatever the number of samples.
    """

    def __init__(self, width: int, out: int, *, centred: bool) -> None:
        """Start with no token; x is [tokens, width], y is [tokens, out]."""
        self.count, self.centred = 0, centred
        self.x, self.y = np.zeros(width), np.zeros(out)
        self.xx, self.xy = np.zeros((width, width)), np.zeros((width, out))
        self.fires = np.zeros(width)
        self._waiting: list[tuple[FloatArray, FloatArray]] = []

    def add(self, x: FloatArray, y: FloatArray) -> None:
        """Take in more tokens: x [tokens, width], y [tokens, out], both float32."""
        self._waiting.append((x, y))
        if sum(len(rows) for rows, _ in self._waiting) >= TOGETHER:
            self._take()

    def gram(self) -> Float64:
        """Return the sum of (x - mean)(x - mean)^T, [width, width]."""
        x, _y = self.means()
        return self.xx - self.count * np.outer(x, x)

    def cross(self) -> Float64:
        """Return the sum of (x - mean)(y - mean)^T, [width, out]."""
        x, y = self.means()
        return self.xy - self.count * np.outer(x, y)

    def means(self) -> tuple[Float64, Float64]:
        """Return the means of x, [width], and of y, [out]; zeros where sums are not about them."""
        self._take()
        if not self.centred:
            return np.zeros_like(self.x), np.zeros_like(self.y)
        return self.x / self.count, self.y / self.count

    def _take(self) -> None:
        if not self._waiting:
            return
        x, y = (np.concatenate(rows) for rows in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self.count += len(x)
        self.x += x.sum(axis=0, dtype=np.float64)
        self.y += y.sum(axis=0, dtype=np.float64)
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.fires += (x > 0).sum(axis=0)
