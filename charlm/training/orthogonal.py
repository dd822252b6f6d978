"""The nearest semi-orthogonal matrix, by products alone, as Muon wants it."""

from torch import Tensor

# Of a, b and c of a x + b x³ + c x⁵: on the interval that the one before leaves of [0.015, 1], the
# polynomial that is nearest to 1 there. Source: Amsel et al. 2025 (arXiv:2505.16932), sec. 3.
QUINTICS = (
    (7.8983, -22.8513, 16.8346),
    (3.4078, -2.5548, 0.5176),
    (2.384, -1.7427, 0.4268),
)


def orthogonal(blocks: Tensor) -> Tensor:
    """About the nearest semi-orthogonal matrix to each of blocks (G, M, N).

    Each of QUINTICS costs three products. Together they drive singular values from 0.015 to 1 of
    the matrix's norm into [0.84, 1.16], and smaller ones stay below.
    """
    tall = blocks.shape[1] > blocks.shape[2]
    x = blocks.mT if tall else blocks
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for a, b, c in QUINTICS:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
